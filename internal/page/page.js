{
	const d = document, $ = s => d.querySelector(s), at = $('time'), copy = $('#copy'), next = $('#next'), said = $('#said'), stop = $('#stop');
	at.after(' · ' + new Date(at.dateTime).toLocaleString($('html').lang, {dateStyle: 'medium', timeStyle: 'long'}).replace(/\s/g, '\xa0'));
	copy.hidden = 0;
	copy.onclick = () => {
		getSelection().selectAllChildren($('code'));
		if (d.execCommand('copy')) copy.innerText = copy.value;
	};
	if (next) {
		const say = next.dataset, tell = (count, news) => {
			next.innerText = count;
			said.innerText = news;
		}, plan = () => {
			left = wait + Math.random() * Math.min(wait, 150) | 0;
			wait = Math.min(wait * 2, 150);
		}, tick = () => {
			if (off || d.hidden || left < 0) return;
			tell(left ? say.next.replace('{n}', left) : say.now, '');
			left-- || fetch('', {method: 'HEAD', redirect: 'manual'}).then(r => {
				if (r.status > 499 || r.headers.has('upstream-failure-id')) throw 0;
				tell('', say.back);
				location.reload();
			}).catch(plan);
		};
		let wait = +say.wait, left, off;
		plan();
		tick();
		setInterval(tick, 1000);
		stop.hidden = 0;
		stop.onclick = () => {
			off = !off;
			[stop.innerText, stop.value] = [stop.value, stop.innerText];
			tell('', off ? say.off : '');
			tick();
		};
	}
}
