package diagnostics

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/redact"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/upstreams"
)

const (
	// probeEvery is how often an upstream is asked again at the most.
	probeEvery = time.Second
	// maxProbing is how many are asked at a time.
	maxProbing = 4
)

// probing bounds how often upstreams are asked again. Its zero value is ready.
type probing struct {
	mu sync.Mutex
	// asked is when each address was asked within the last probeEvery.
	asked    map[string]time.Time
	underWay int
}

// begin says whether an address may be asked now. ended must be called once.
func (p *probing) begin(address string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, at := range p.asked {
		if now.Sub(at) >= probeEvery {
			delete(p.asked, other)
		}
	}
	if at, recently := p.asked[address]; recently {
		return &failure.ProbeRefused{
			Why: failure.ProbeTooOften, Message: fmt.Sprintf("it was asked only now: once in %s at the most", probeEvery), RetryAfter: probeEvery - now.Sub(at),
		}
	}
	if p.underWay >= maxProbing {
		return &failure.ProbeRefused{Why: failure.ProbeTooOften, Message: fmt.Sprintf("%d upstreams are being asked: no more at a time", maxProbing), RetryAfter: probeEvery}
	}
	if p.asked == nil {
		p.asked = make(map[string]time.Time)
	}
	p.asked[address] = now
	p.underWay++
	return nil
}

func (p *probing) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay--
}

// newestBoard is that of the config that was started last, nil for none.
func (p *process) newestBoard() *upstreams.Board {
	boards := p.boards()
	if len(boards) == 0 {
		return nil
	}
	return boards[len(boards)-1]
}

// probe asks an upstream once more. It is in no record and counts for nothing; incidents of
// the upstream keep it.
func (p *process) probe(ctx context.Context, q failure.ProbeQuery) (failure.Probe, error) {
	target, err := p.newestBoard().Target(q)
	if err != nil {
		return failure.Probe{}, err
	}
	if err := p.probing.begin(target.Dial(), time.Now()); err != nil {
		return failure.Probe{}, err
	}
	var asked *upstreams.Asked
	defer func() {
		if asked == nil { // it panicked
			p.probing.ended()
			return
		}
		select {
		case <-asked.Finished:
			p.probing.ended()
		default:
			go func() { <-asked.Finished; p.probing.ended() }()
		}
	}()
	if asked, err = target.Ask(ctx); err != nil {
		return failure.Probe{}, err
	}
	probe := describeProbe(target, asked)
	p.incidents.Probed(probe)
	return probe, nil
}

// describeProbe says what came of asking.
func describeProbe(target *upstreams.Target, asked *upstreams.Asked) failure.Probe {
	sent := redact.New(nil, nil, redact.ClientIPOff).Request(&http.Request{Method: asked.Method, Host: asked.Host, URL: asked.URL, Header: http.Header{}}, "")
	probe := failure.Probe{
		Upstream: target.Upstream(), Proxy: target.Proxy(), Time: failure.At(asked.Heard.Start),
		Request: failure.ProbeRequest{Method: sent.Method, Host: sent.Host, URI: sent.URI, By: asked.By},
		Checks:  []failure.ProbeCheck{}, NotTried: asked.NotTried,
	}
	cause.TellProbe(&probe, asked.Heard, target.Limits(), asked.Check, asked.Spoken)
	probe.Steps = cause.Steps(asked.Heard, asked.Told)
	for i := range asked.Spoken {
		probe.Checks = append(probe.Checks, cause.TellSpoken(&asked.Spoken[i]))
	}
	probe.Bound()
	return probe
}
