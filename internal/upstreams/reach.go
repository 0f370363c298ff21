package upstreams

import (
	"cmp"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Fit says whether one of our handlers has anything to hear where it stands. Where
// that can't be known, it fits.
type Fit int

const (
	Fits Fit = iota
	// NoProxy: no reverse_proxy comes after it, nor anything that may hold one.
	NoProxy
	// BehindProxy is NoProxy where a reverse_proxy stands in front of it.
	BehindProxy
	// Doubled: each reverse_proxy after it stands behind another of ours as well, which
	// is nearer and hears it in its place.
	Doubled
)

// way is how a request comes to a place in a config and where it goes from there.
type way struct {
	// site is the first host of the outermost host matcher.
	site string
	// front says whether it may have passed a reverse_proxy.
	front func() bool
	// behind is what it may come to.
	behind func() reach
	// hidden is what no request comes to if one that answers all stands here: what is behind
	// no matcher on the way to here.
	hidden func() reach
	// sites are the labels of those of ours that it passes nearest to that place, as records
	// have them, "" for the server's name; where there is none of ours, the site, if there is
	// one.
	sites func() []string
}

// labelled is one of our handlers that may have a label of its own.
type labelled interface{ Label() string }

func noReach() reach { return reach{} }

// orLabels are the labels of those of ours among handlers that stand at a site, or other's
// where there are none.
func orLabels(handlers []caddyhttp.MiddlewareHandler, site string, other func() []string) []string {
	var labels []string
	for _, handler := range handlers {
		if _, ours := handler.(Placed); !ours {
			continue
		}
		label := ""
		if named, ok := handler.(labelled); ok {
			label = named.Label()
		}
		labels = append(labels, cmp.Or(label, site))
	}
	if len(labels) > 0 {
		return labels
	}
	return other()
}

func (y way) fit() Fit {
	behind := y.behind()
	switch {
	case behind.alone:
		return Fits
	case behind.proxy:
		return Doubled
	case y.front():
		return BehindProxy
	default:
		return NoProxy
	}
}

// through is the way to the i-th of a list of routes. Of routes that stop the request,
// and of those of one group, a request takes one.
func (y way) through(routes caddyhttp.RouteList, i int) way {
	route := &routes[i]
	through := y
	if y.site == "" {
		through.site = hostOf(route.MatcherSets)
	}
	passed := func(before *caddyhttp.Route) bool {
		return !before.Terminal && (before.Group == "" || before.Group != route.Group)
	}
	through.sites = func() []string {
		var before []caddyhttp.MiddlewareHandler
		for j := range i {
			if passed(&routes[j]) {
				before = append(before, routes[j].Handlers...)
			}
		}
		return orLabels(before, y.site, func() []string {
			if outer := y.sites(); len(outer) > 0 || through.site == "" {
				return outer
			}
			return []string{through.site}
		})
	}
	through.front = func() bool {
		for j := range i {
			before := &routes[j]
			if !passed(before) {
				continue
			}
			if reachOfHandlers(before.Handlers, reach{}).sure {
				return true
			}
		}
		return y.front()
	}
	through.behind = func() reach {
		if route.Terminal {
			return reach{}
		}
		return reachOf(routes[i+1:], route.Group, y.behind())
	}
	through.hidden = func() reach {
		sameGroup := func(before caddyhttp.Route) bool { return route.Group != "" && before.Group == route.Group }
		if route.Terminal || len(route.MatcherSets) > 0 || slices.ContainsFunc(routes[:i], sameGroup) {
			return reach{}
		}
		return reachOf(routes[i+1:], route.Group, y.hidden())
	}
	return through
}

// to is the way to the i-th handler of a route that y is the way through.
func (y way) to(handlers []caddyhttp.MiddlewareHandler, i int) way {
	to := y
	to.front = func() bool { return reachOfHandlers(handlers[:i], reach{}).sure || y.front() }
	to.behind = func() reach { return reachOfHandlers(handlers[i+1:], y.behind()) }
	to.hidden = func() reach { return reachOfHandlers(handlers[i+1:], y.hidden()) }
	to.sites = func() []string { return orLabels(handlers[:i], y.site, y.sites) }
	return to
}

// reach is what a request may come to from a place in a config. What a matcher or a
// handler decides about a request isn't known: it may go either way.
type reach struct {
	// proxy: a reverse_proxy, or a handler that may hold one.
	proxy bool
	// alone: one that the request comes to without passing one of ours.
	alone bool
	// sure: it is a reverse_proxy.
	sure bool
}

func (r reach) or(other reach) reach {
	return reach{r.proxy || other.proxy, r.alone || other.alone, r.sure || other.sure}
}

// reachOf is the reach from the beginning of routes, without those of the group that
// the request has taken one of already.
func reachOf(routes caddyhttp.RouteList, taken string, behind reach) reach {
	from := behind
	for i := len(routes) - 1; i >= 0; i-- {
		route := &routes[i]
		if taken != "" && route.Group == taken {
			continue
		}
		after := from
		switch {
		case route.Terminal:
			after = reach{}
		case route.Group != "" && taken == "":
			after = reachOf(routes[i+1:], route.Group, behind)
		}
		through := reachOfHandlers(route.Handlers, after)
		if len(route.MatcherSets) > 0 {
			through = through.or(from)
		}
		from = through
	}
	return from
}

func reachOfHandlers(handlers []caddyhttp.MiddlewareHandler, behind reach) reach {
	from := behind
	for i := len(handlers) - 1; i >= 0; i-- {
		from = reachOfHandler(handlers[i], from)
	}
	return from
}

func reachOfHandler(handler any, behind reach) reach {
	anything := reach{proxy: true, alone: true}
	switch h := handler.(type) {
	case Placed:
		return reach{proxy: behind.proxy, sure: behind.sure}
	case Last: // as Caddy's respond, which answers too
		return behind
	case *reverseproxy.Handler:
		return reach{proxy: true, alone: true, sure: true}
	case *caddyhttp.Invoke:
		return anything
	case *caddyhttp.Subroute:
		from := reachOf(h.Routes, "", behind)
		if h.Errors != nil { // they run after the routes, and not inside them
			from = from.or(reachOf(h.Errors.Routes, "", behind))
		}
		return from
	case *intercept.Intercept:
		from := behind
		for i := range h.HandleResponse {
			from = from.or(reachOf(h.HandleResponse[i].Routes, "", reach{}))
		}
		return from
	}
	if isCaddys(handler) {
		return behind
	}
	return anything
}
