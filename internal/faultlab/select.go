package faultlab

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// selectFaults are those in which no upstream could be chosen, and those in which
// another one was chosen after a failure.
func selectFaults() []Fault {
	return []Fault{
		{
			Name: "unhealthy_after_failures", Number: "28a",
			Cause: "upstreams_unhealthy", Phase: "select", Side: "upstream", Outcome: "failed", Status: 503,
			Start: refused(
				block("fail_duration 30s", "max_fails 1"),
				after(func(v *visitor) (func(), error) { _, err := v.send(Request{}); return nil, err })),
		},
		{
			Name: "unhealthy_by_check", Number: "28b",
			Cause: "upstreams_unhealthy", Phase: "select", Side: "upstream", Outcome: "failed", Status: 503,
			Start: overTCP(healthCheckFails,
				block("health_uri /health", "health_interval 50ms"),
				after(untilUnhealthy)),
		},
		{
			Name: "all_slots_taken", Number: "28c",
			Cause: "upstreams_full", Phase: "select", Side: "proxy", Outcome: "failed", Status: 503,
			Start: startFull,
		},
		{
			Name:  "no_upstream_configured",
			Cause: "upstreams_missing", Phase: "select", Side: "proxy", Outcome: "failed", Status: 503,
			Start: notListening("", block("lb_policy first")),
		},
		{
			Name:  "dynamic_source_empty",
			Cause: "upstreams_missing", Phase: "select", Side: "proxy", Outcome: "failed", Status: 503,
			Start: notListening("", block("dynamic multi {", "}")),
		},
		{
			Name: "dynamic_lookup_not_found", Number: "39",
			Cause: "upstream_lookup_failed", Phase: "select", Side: "network", Outcome: "failed", Status: 503,
			Start: startDynamic("a", nameNotFound),
		},
		{
			Name: "dynamic_lookup_server_failed", Number: "39",
			Cause: "upstream_lookup_failed", Phase: "select", Side: "network", Outcome: "failed", Status: 503,
			Start: startDynamic("a", serverFailed),
		},
		{
			Name: "dynamic_srv_not_found", Number: "39",
			Cause: "upstream_lookup_failed", Phase: "select", Side: "network", Outcome: "failed", Status: 503,
			Start: startDynamic("srv", nameNotFound),
		},
		{
			Name: "dynamic_srv_server_failed", Number: "39",
			Cause: "upstream_lookup_failed", Phase: "select", Side: "network", Outcome: "failed", Status: 503,
			Start: startDynamic("srv", serverFailed),
		},
		{
			// It asks each of its sources, and keeps none of their errors.
			Name: "dynamic_multi_not_found", Number: "39",
			Cause: "upstreams_missing", Phase: "select", Side: "proxy", Outcome: "failed", Status: 503,
			Start: startDynamic("multi", nameNotFound),
		},
		{
			Name: "placeholder_empty", Number: "06c",
			Cause: "dial_address_invalid", Phase: "select", Side: "proxy", Outcome: "failed", Status: 502,
			Start: notListening("{http.request.header.X-Upstream}"),
		},
		{
			Name: "placeholder_bad_port", Number: "06c",
			Cause: "dial_address_invalid", Phase: "select", Side: "proxy", Outcome: "failed", Status: 502,
			Start: notListening("{http.request.header.X-Upstream}", sends(Request{Header: map[string]string{"X-Upstream": "127.0.0.1:70000"}})),
		},
		{
			Name: "placeholder_port_range", Number: "06c",
			Cause: "dial_address_invalid", Phase: "select", Side: "proxy", Outcome: "failed", Status: 502,
			Start: notListening("{http.request.header.X-Upstream}", sends(Request{Header: map[string]string{"X-Upstream": "127.0.0.1:80-81"}})),
		},
		{
			Name: "placeholder_socket_empty", Number: "06c",
			Cause: "dial_address_invalid", Phase: "select", Side: "proxy", Outcome: "failed", Status: 502,
			Start: notListening("unix/{http.request.header.X-Socket}"),
		},
		{
			Name: "rescued_after_refused", Number: "29a",
			Cause: "connection_refused", Phase: "connect", Side: "upstream", Outcome: "rescued", Status: 200,
			Start: rescued(refused()),
		},
		{
			Name: "rescued_after_close", Number: "29d",
			Cause: "closed_before_response", Phase: "wait", Side: "upstream", Outcome: "rescued", Status: 200,
			Start: rescued(overTCP(closesUnanswered)),
		},
		{
			Name: "refused_twice", Number: "29b",
			Cause: "connection_refused", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: pair(refused(), refused()),
		},
		{
			Name: "retries_used_up", Number: "29e",
			Cause: "upstream_status", Phase: "headers", Side: "upstream", Outcome: "failed", Status: 503,
			Start: overTCP(answers(status(503)), block("lb_retries 1", "lb_retry_match expression `{rp.status_code} == 503`"), app(answersStatus(503))),
		},
	}
}

// notListening is an upstream that is nothing but words.
func notListening(to string, options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		u.To = to
		return u, nil
	}
}

// healthCheckFails answers well, but for the health check.
func healthCheckFails(c *conn) {
	for {
		r, err := c.request()
		if err != nil {
			return
		}
		if r.URL.Path == "/health" {
			c.say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		c.say(good)
	}
}

// untilUnhealthy asks until the answer is 503.
func untilUnhealthy(v *visitor) (func(), error) {
	for {
		a, err := v.send(Request{})
		if err != nil {
			return nil, err
		}
		if a.Status == http.StatusServiceUnavailable {
			return nil, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-v.ctx.Done():
			return nil, errNeverUnhealthy
		}
	}
}

var errNeverUnhealthy = errors.New("the upstream was never found unhealthy")

// startFull makes an upstream with one slot, that a first request takes until the
// second has its answer.
func startFull() (*Upstream, error) {
	free := make(chan struct{})
	hangs := func(c *conn) {
		if _, err := c.request(); err != nil {
			return
		}
		if c.number == 1 {
			select {
			case <-free:
			case <-c.closing:
			}
		}
		c.say(good)
	}
	var busy atomic.Bool
	application := func(w http.ResponseWriter, _ *http.Request) {
		if busy.CompareAndSwap(false, true) {
			<-free
		}
		_, _ = io.WriteString(w, "ok\n")
	}
	first := func(v *visitor) (func(), error) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = v.send(Request{}) // its answer is no part of the fault
		}()
		return func() { close(free); <-ended }, v.await(v.upstream.reached)
	}
	return overTCP(hangs, block("unhealthy_request_count 1", "fail_duration 30s"), after(first), app(application))()
}

// startDynamic makes a dynamic source of this kind whose lookup fails.
func startDynamic(kind string, answer func([]byte) []byte) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream()
		resolver, err := u.serveDNS(answer)
		if err != nil {
			return u.fails(err)
		}
		source := []string{"a {", "\tname " + labName, "\tport 80", "\tresolvers " + resolver, "}"}
		switch kind {
		case "srv":
			source = []string{"srv {", "\tname _http._tcp." + labName, "\tresolvers " + resolver, "}"}
		case "multi":
			source = append(append([]string{"multi {"}, source...), "}")
		}
		source[0] = "dynamic " + source[0]
		u.Block = append(u.Block, source...)
		return u, nil
	}
}

// rescued makes a pool of one that fails and one that is well.
func rescued(first func() (*Upstream, error)) func() (*Upstream, error) {
	return pair(first, overTCP(answers(good)))
}

// pair makes a pool of two, asked one after the other.
func pair(first, second func() (*Upstream, error)) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u, err := first()
		if err != nil {
			return nil, err
		}
		other, err := second()
		if err != nil {
			return u.fails(err)
		}
		u.undo = append(u.undo, other.Close)
		u.To += " " + other.To
		u.Block = append(u.Block, "lb_policy first", "lb_retries 1", "fail_duration 30s")
		return u, nil
	}
}
