package cause

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// gateway is a sentence by which a gateway at or behind an upstream answers, mostly where what
// it hands on to has failed it. No application writes these by itself.
type gateway struct {
	name, says string
	statuses   []int
}

var gateways = []gateway{
	{"Envoy", "upstream connect error or disconnect/reset before headers", []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}}, // so Istio, Contour, Consul
	{"HAProxy", "No server is available to handle this request.", []int{http.StatusServiceUnavailable}},
	{"HAProxy", "The server returned an invalid or incomplete response.", []int{http.StatusBadGateway}},
	{"HAProxy", "The server didn't respond in time.", []int{http.StatusGatewayTimeout}},
	{"nginx", "<hr><center>nginx", []int{http.StatusBadGateway, http.StatusGatewayTimeout}}, // its 503 may be a limit of its own
}

// gatewayCause finds the gateway that wrote an error's body, where its beginning was kept.
func gatewayCause(a *listen.Attempt, f finding) finding {
	for i := range gateways {
		g := &gateways[i]
		if !slices.Contains(g.statuses, a.Status) || !bytes.Contains(a.Body.Start, []byte(g.says)) {
			continue
		}
		f.evidence = append(f.evidence, "its body has what "+g.name+" writes there by itself: "+said(g.says))
		return f.advise("Look at the log of the " + g.name + " that is at {upstream}, or behind it: most likely what that one hands on to has failed it, and its log says which, and why.").
			leavesOpen("why that one answers so, for this request alone or for all, can't be told from here: its log tells")
	}
	return f
}
