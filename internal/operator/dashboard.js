(() => {
'use strict'
// Every page is whole without this. It keeps the first page as it is now, says how many
// failures are new, filters lists without a reload, counts times on, and copies.
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
const drawn = $('#drawn')
let skew = drawn ? Date.parse(drawn.dateTime) - Date.now() : 0
const countOn = () => {
	for (const time of $$('time:not([data-exact])')) {
		const words = ago(Date.parse(time.dateTime), Date.now() + skew)
		if (time.textContent !== words) time.textContent = words
	}
}

const live = $('#live')
const say = words => { if (live && live.textContent !== words) live.textContent = words }

// What a node shows, whenever: histories go on with each minute.
const shown = node => node.outerHTML.replace(/(<time[^>]*>)[^<]*/g, '$1').replace(/<figure.*?<\/figure>/gs, '<figure>')

// Replace what has changed, and leave alone what hasn't: who reads, has opened or has
// selected something there keeps it. Both are told by the ids of their children.
const renew = (old, fresh) => {
	const before = new Map([...old.children].map(node => [node.id, node]))
	const kept = [...fresh.children].map(node => {
		const known = before.get(node.id)
		if (known && shown(known) === shown(node)) {
			const histories = $$('figure', node)
			$$('figure', known).forEach((history, n) => { if (history.outerHTML !== histories[n].outerHTML) history.replaceWith(document.adoptNode(histories[n])) })
			return known
		}
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

const pageOf = async answer => new DOMParser().parseFromString(await answer.text(), 'text/html')
// What stands around the content: the server's clock with it.
const renewAround = page => {
	document.title = page.title
	for (const part of ['#drawn', '#as', '#badge']) {
		const other = $(part, page)
		if (other) $(part)?.replaceWith(document.adoptNode(other))
	}
	skew = Date.parse($('#drawn').dateTime) - Date.now()
}

let version = document.body.dataset.version
const refreshNow = async () => {
	const answer = await fetch(location.href, {headers: {Accept: 'text/html', 'If-None-Match': 'W/"' + version + '"'}})
	if (answer.status === 304) return
	if (!answer.ok) throw new Error(answer.status)
	const page = await pageOf(answer)
	const now = $('#now', page)
	if (!now) throw new Error('another page')
	const open = $$('.incident').map(card => card.id)
	const added = $$('.incident', now).filter(card => !open.includes(card.id)).length
	version = page.body.dataset.version
	renewAround(page)
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
	if (n === found || !place.isConnected) return
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

// A list with other filters, or another part of it. Whoever comes last is shown.
const main = $('#main')
let wanted = location.href
const list = async (url, back) => {
	const other = url !== wanted && !back // else it is shown anew
	if (url === wanted && main.hasAttribute('aria-busy')) return // a field that changes by Enter asks twice
	wanted = url
	main.setAttribute('aria-busy', 'true')
	let page
	try {
		const answer = await fetch(url, {headers: {Accept: 'text/html'}})
		page = answer.ok && await pageOf(answer)
	} catch { /* the browser itself says why */ }
	if (url !== wanted) return
	main.removeAttribute('aria-busy')
	if (!page || !$('.filters', page)) return location.assign(url)
	if (other) history.pushState(null, '', url)
	const field = [...$('.filters').elements].indexOf(document.activeElement)
	renewAround(page)
	main.replaceChildren(...document.adoptNode($('#main', page)).childNodes)
	found = 0
	countOn()
	// Who was in the form stays there, and who followed a link begins at the list.
	const again = $('.filters').elements[field]
	if (again) again.focus({preventScroll: true})
	else $('#told').focus()
	say($('#told').textContent)
}
if ($('.filters')) {
	document.addEventListener('click', event => {
		const a = event.target.closest('#main a[href]')
		if (!a || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || a.origin !== location.origin || a.pathname !== location.pathname) return
		event.preventDefault()
		list(a.href)
	})
	const filter = event => {
		const form = event.target.closest('.filters')
		if (!form) return
		if (event.type === 'submit') event.preventDefault()
		const url = new URL(form.action)
		for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value)
		list(url.href)
	}
	document.addEventListener('change', filter)
	document.addEventListener('submit', filter)
	addEventListener('popstate', () => list(location.href, true))
}

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
