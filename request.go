package diagnostics

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// describeRequest keeps of the client's request (see asSent) what this handler is
// told to.
func (h *Handler) describeRequest(r *http.Request) failure.Request {
	return h.redact.Request(r, clientIP(r))
}

// clientIP is the client's address, which is not the peer's where that is a trusted proxy.
func clientIP(r *http.Request) string {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return address
}

// asSent is r with method and URI as the client sent them: handlers after us may
// have rewritten it.
func asSent(r *http.Request) *http.Request {
	sent, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || sent.URL == nil {
		return r
	}
	if r.Method == sent.Method && r.RequestURI == sent.RequestURI && r.RemoteAddr == sent.RemoteAddr && *r.URL == *sent.URL {
		return r
	}
	c := *r
	c.Method, c.URL, c.RequestURI, c.RemoteAddr = sent.Method, sent.URL, sent.RequestURI, sent.RemoteAddr
	return &c
}
