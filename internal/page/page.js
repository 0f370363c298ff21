{
	const d = document, $ = s => d.querySelector(s), [at, copy, box, stop] = ['time', '#copy', '#next', '#stop'].map($);
	at.after(' · ' + new Date(at.dateTime).toLocaleString($('html').lang, {dateStyle: 'medium', timeStyle: 'long'}).replace(/\s/g, '\xa0'));
	copy.hidden = 0;
	copy.onclick = () => {
		getSelection().selectAllChildren($('code'));
		if (d.execCommand('copy')) copy.innerText = copy.value;
	};
	if (box) {
		const say = box.dataset, tell = (n, s) => {
			box.innerText = n;
			$('#said').innerText = s;
		}, plan = () => {
			left = wait + Math.random() * Math.min(wait, 150) | 0;
			wait = Math.min(wait * 2, 150);
		}, tick = () => off || d.hidden || left < 0 || (
			tell(left ? say.next.replace('{n}', left) : say.now, ''),
			left-- || fetch('', {method: 'HEAD', redirect: 'manual'}).then(r => r.status > 499 || r.headers.has('upstream-failure-id') ? plan() : (
				tell('', say.back),
				isNaN(name) || (name = wait),
				location.reload()
			), plan)
		);
		let wait = say.wait | name * performance.navigation?.type, left, off;
		plan();
		tick();
		setInterval(tick, 1e3);
		stop.hidden = 0;
		stop.onclick = () => {
			off = !off;
			[stop.innerText, stop.value] = [stop.value, stop.innerText];
			tell('', off ? say.off : '');
			tick();
		};
	}
}
