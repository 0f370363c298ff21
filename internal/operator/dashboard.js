(() => {
'use strict'
// Every page is whole without this. It keeps the first page as it is now, says how many
// failures are new, counts times on, and copies.
const every = 5000
const $ = (selector, within = document) => within.querySelector(selector)
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)]

// Times as people say them, in the words that the server has.
const units = [['year', 31536000], ['month', 2592000], ['week', 604800], ['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]]
const ago = (then, now) => {
	const seconds = Math.floor(Math.abs(now - then) / 1000)
	for (const [unit, length] of units) {
		const n = Math.floor(seconds / length)
		if (n) return n + ' ' + unit + (n > 1 ? 's' : '') + (then > now ? ' from now' : ' ago')
	}
	return 'just now'
}
// The server's clock decides, not this machine's.
const drawn = $('footer time')
let skew = drawn ? Date.parse(drawn.dateTime) - Date.now() : 0
const countOn = () => {
	for (const time of $$('time:not([data-exact])')) {
		const words = ago(Date.parse(time.dateTime), Date.now() + skew)
		if (time.textContent !== words) time.textContent = words
	}
}

const live = $('#live')
const say = words => { if (live && live.textContent !== words) live.textContent = words }

// What a node shows, whenever.
const shown = node => node.outerHTML.replace(/(<time[^>]*>)[^<]*/g, '$1')

// Replace what has changed, and leave alone what hasn't: who reads, has opened or has
// selected something there keeps it. Both are told by the ids of their children.
const renew = (old, fresh) => {
	const before = new Map([...old.children].map(node => [node.id, node]))
	const kept = [...fresh.children].map(node => {
		const known = before.get(node.id)
		if (known && shown(known) === shown(node)) return known
		const list = known && $('[data-list]', known), other = $('[data-list]', node)
		if (list && other) {
			renew(list, other)
			return known
		}
		const focused = known?.contains(document.activeElement) && document.activeElement.getAttribute('href')
		const taken = document.adoptNode(node)
		if (known) known.replaceWith(taken)
		else {
			taken.classList.add('fresh')
			setTimeout(() => taken.classList.remove('fresh'), 3000)
		}
		if (focused) $$('a', taken).find(a => a.getAttribute('href') === focused)?.focus({preventScroll: true})
		return taken
	})
	for (const node of [...old.children]) if (!kept.includes(node)) node.remove()
	kept.forEach((node, n) => { if (old.children[n] !== node) old.insertBefore(node, old.children[n] || null) })
}

let version = document.body.dataset.version
const refreshNow = async () => {
	const answer = await fetch(location.href, {headers: {Accept: 'text/html', 'If-None-Match': 'W/"' + version + '"'}})
	if (answer.status === 304) return
	if (!answer.ok) throw new Error(answer.status)
	const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
	const now = $('#now', page)
	if (!now) throw new Error('another page')
	const open = $$('.incident').map(card => card.id)
	const added = $$('.incident', now).filter(card => !open.includes(card.id)).length
	version = page.body.dataset.version
	document.title = page.title
	const at = $('footer time', page)
	skew = Date.parse(at.dateTime) - Date.now()
	$('footer time').replaceWith(document.adoptNode(at))
	$('#badge').replaceWith(document.adoptNode($('#badge', page)))
	renew($('#now'), now)
	countOn()
	if (added) return added + (added > 1 ? ' new incidents' : ' new incident')
}

const most = 50
let found = 0
const askFresh = async place => {
	if (found >= most) return
	const answer = await fetch(place.dataset.ask + '&limit=' + most, {headers: {Accept: 'application/json'}})
	if (!answer.ok) throw new Error(answer.status)
	const n = (await answer.json()).failures.length
	if (n === found) return
	found = n
	const show = document.createElement('a')
	show.href = place.dataset.show
	show.textContent = (n === most ? n + ' or more' : n) + ' new, show'
	place.replaceChildren(show)
}

// Who asks in vain asks ever more rarely.
let wait = every
const tick = async () => {
	if (document.visibilityState === 'visible') {
		const place = $('#fresh')
		try {
			const said = $('#now') ? await refreshNow() : place?.dataset.ask ? await askFresh(place) : undefined
			if (said) say(said)
			else if (wait > every) say('')
			wait = every
		} catch {
			wait = Math.min(wait * 2, 60000)
			say('no answer, this may be old')
		}
	}
	setTimeout(tick, wait)
}
setInterval(countOn, 1000)
setTimeout(tick, every)
document.addEventListener('visibilitychange', countOn)

// Copy.
if (navigator.clipboard) for (const details of $$('.copies details')) {
	const button = document.createElement('button')
	button.textContent = 'Copy'
	button.addEventListener('click', async () => {
		try {
			await navigator.clipboard.writeText($('pre', details).textContent)
			button.textContent = 'Copied'
		} catch {
			getSelection().selectAllChildren($('pre', details))
			button.textContent = 'Selected'
		}
		setTimeout(() => { button.textContent = 'Copy' }, 2000)
	})
	details.insertBefore(button, $('pre', details))
}
})()
