//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/operator"
)

// shop is what the pictures of the documentation show: a day on which some things are broken.
type shop struct {
	failures  []*failure.Failure
	incidents []failure.Incident
	board     failure.Board
	now       time.Time
}

func (s *shop) Overview() failure.Overview {
	return failure.Overview{
		Since: s.ago(72 * time.Hour), KeptCount: 1000, Keep: 1000, OpenIncidents: len(s.incidents), Warnings: 1,
		Counts: map[failure.Outcome]uint64{failure.Failed: 1421, failure.Rescued: 96, failure.Truncated: 3, failure.Abandoned: 12, failure.UpstreamAnswered: 27},
	}
}

func (s *shop) Query(failure.Query) failure.FailurePage {
	return failure.FailurePage{Failures: s.failures}
}

func (s *shop) Get(id string) (*failure.Failure, bool) {
	n := slices.IndexFunc(s.failures, func(f *failure.Failure) bool { return f.ID == id })
	if n < 0 {
		return nil, false
	}
	return s.failures[n], true
}

func (s *shop) Incidents() []failure.Incident { return s.incidents }

func (s *shop) Incident(id string) (failure.Incident, bool) {
	n := slices.IndexFunc(s.incidents, func(i failure.Incident) bool { return i.ID == id })
	if n < 0 {
		return failure.Incident{}, false
	}
	return s.incidents[n], true
}

func (s *shop) Upstreams() failure.Board {
	board := s.board
	board.Upstreams = slices.Clone(board.Upstreams)
	return board
}

func (s *shop) Probe(context.Context, failure.ProbeQuery) (failure.Probe, error) {
	return failure.Probe{}, nil
}

func (s *shop) Clear() {}

func (s *shop) ago(d time.Duration) failure.Timestamp { return failure.At(s.now.Add(-d)) }

// fails records one.
func (s *shop) fails(id string, ago time.Duration, of failure.Incident, uri string, change func(*failure.Failure)) {
	f := &failure.Failure{
		ID: id, Time: s.ago(ago), Instance: "edge-1", Site: of.Site, Outcome: failure.Failed, Status: 502, Upstream: of.Upstream, Cause: of.Cause,
		Category: cause.ByName(of.Cause).Category, Phase: of.Phase, Side: of.Side, Summary: of.Summary, Advice: of.Advice, Incident: of.ID, RequestSent: failure.SentNo,
		Evidence: []string{}, Attempts: []failure.Attempt{{Upstream: of.Upstream, Cause: of.Cause}}, AttemptCount: 1,
		Request: failure.Request{Method: "GET", Host: of.Site, URI: uri, Proto: "HTTP/2.0", RemoteIP: "203.0.113.9", ClientIP: "203.0.113.9", Headers: map[string][]string{"User-Agent": {"Mozilla/5.0"}}},
	}
	if change != nil {
		change(f)
	}
	s.failures = append(s.failures, f)
}

// happens adds an incident, with a history of the last minutes.
func (s *shop) happens(i failure.Incident, began time.Duration, outcomes map[failure.Outcome]uint64, history func(ago int) uint32) failure.Incident {
	row := cause.ByName(i.Cause)
	i.Site, i.Phase, i.Side, i.State, i.Outcomes = "shop.example.com", row.Phase, row.Side, failure.IncidentOpen, outcomes
	i.FirstSeen, i.LastSeen = s.ago(began), s.ago(5*time.Second)
	for _, n := range outcomes {
		i.Count += n
	}
	for ago := range int(min(began, time.Hour) / time.Minute) {
		i.PerMinute[failure.HistoryMinutes-1-ago] = history(ago)
	}
	s.incidents = append(s.incidents, i)
	return i
}

func ms(value float64) *failure.Milliseconds { return new(failure.Milliseconds(value)) }

func openShop() *shop {
	s := &shop{now: time.Now()}
	refused := s.happens(failure.Incident{
		ID: "57d54133a3361326", Upstream: "app:8080", Cause: "connection_refused", Summary: "Nothing accepts connections at app:8080.", Advice: "Start the application, or correct the port in reverse_proxy.",
		Samples: []string{"zff9ge3t7", "k3f9qw2ax"}, Changes: []failure.Change{{Kind: failure.ChangeConfig, Summary: "app:8080 last answered well 4 s before it began."}},
	}, 12*time.Minute, map[failure.Outcome]uint64{failure.Failed: 20, failure.Rescued: 5}, func(ago int) uint32 { return uint32(ago*7%11 + 1) })
	unhealthy := s.happens(failure.Incident{
		ID: "cb5d6375f4a2accb", Cause: "upstreams_unhealthy", Summary: "No upstream is healthy, so none was tried.", Advice: "Start the application at app:8080; with one upstream leave fail_duration out.", Samples: []string{"9nfbwnapc"},
	}, 12*time.Minute, map[failure.Outcome]uint64{failure.Failed: 180}, func(int) uint32 { return 15 })
	expired := s.happens(failure.Incident{
		ID: "9f1df2d822dd8353", Upstream: "billing.internal:443", Cause: "certificate_expired", Summary: "The certificate that billing.internal:443 shows ended 2 days ago.", Advice: "Renew the certificate at the upstream; Caddy is right not to trust it.",
		Samples: []string{"5jn3f74mq", "dkps5012j"}, ReopenedCount: 2,
	}, 50*time.Minute, map[failure.Outcome]uint64{failure.Failed: 1204}, func(ago int) uint32 { return uint32(18 + ago*5%9) })
	closed := s.happens(failure.Incident{
		ID: "e8ce7c2f44750255", Upstream: "app2:8080", Cause: "closed_before_response", Summary: "app2:8080 closed the connection without an answer.", Advice: "Look at the application's log at this time for a crash or a worker that was ended.", Samples: []string{"sjssn5rep"},
	}, 33*time.Minute, map[failure.Outcome]uint64{failure.Rescued: 91}, func(ago int) uint32 { return uint32(ago * 3 % 7) })
	slow := s.happens(failure.Incident{
		ID: "b96a97c941d0be8b", Upstream: "search:9200", Cause: "response_timeout", Summary: "search:9200 did not begin to answer within response_header_timeout 10 s.", Advice: "Look at the application's log at this time for what it waited for.", Samples: []string{"kw22fca6v"},
	}, 20*time.Minute, map[failure.Outcome]uint64{failure.Failed: 17}, func(ago int) uint32 { return uint32(ago % 3) })
	s.incidents[4].State, s.incidents[4].ResolvedBy = failure.IncidentResolved, failure.ResolvedByAnswer
	s.incidents[4].ResolvedAt = new(s.ago(3 * time.Minute))

	refusedAttempt := failure.Attempt{
		Upstream: "app:8080", Address: "10.0.0.7:8080", StartMS: 0.1, DurationMS: 0.6, PhasesMS: failure.Phases{DNS: ms(0.3), Connect: ms(0.2)}, Cause: refused.Cause, Incident: refused.ID,
		Error: "dial tcp 10.0.0.7:8080: connect: connection refused", Errno: "ECONNREFUSED",
	}
	s.fails("dkps5012j", 5*time.Second, expired, "/invoices/2026-11", nil)
	s.fails("k3f9qw2ax", 14*time.Second, refused, "/api/cart?id=REDACTED", func(f *failure.Failure) {
		f.Attempts, f.DurationMS = []failure.Attempt{refusedAttempt}, 0.8
		f.Evidence = []string{"connect 10.0.0.7:8080: ECONNREFUSED after 0.2 ms"}
	})
	s.fails("9nfbwnapc", 31*time.Second, unhealthy, "/api/cart", func(f *failure.Failure) {
		f.Status, f.Attempts, f.AttemptCount = 503, nil, 0
		f.Unavailable = []failure.Unavailable{{Upstream: "app:8080", Reason: failure.ReasonFails, LastFailure: "k3f9qw2ax", LastCause: refused.Cause}}
	})
	s.fails("sjssn5rep", 41*time.Second, closed, "/", func(f *failure.Failure) { f.Outcome, f.Status = failure.Rescued, 200 })
	s.fails("kw22fca6v", 4*time.Minute, slow, "/checkout?step=REDACTED", func(f *failure.Failure) {
		f.Status, f.RequestSent, f.DurationMS, f.AttemptCount = 504, failure.SentMaybe, 10_548, 3
		f.Summary = "None of 3 upstreams could serve the request. The last one tried: " + slow.Summary
		f.Limit = &failure.Limit{Name: "response_header_timeout", ValueMS: ms(10_000), Source: failure.LimitConfigured}
		f.Evidence = []string{
			"the request was written; no byte of an answer came in 10 s", "the other end acknowledged every byte of the request: the network took it there",
			"gave up by response_header_timeout 10 s", "not tried again: lb_retries 2 is used up, within 10.5 s",
		}
		f.Attempts = []failure.Attempt{
			refusedAttempt,
			{
				Upstream: "app2:8080", Address: "10.0.0.8:8080", LocalAddress: "10.0.0.2:39210", Protocol: "http/1.1", Reused: new(false), StartMS: 123, DurationMS: 302,
				PhasesMS: failure.Phases{Connect: ms(0.3), Send: ms(0.1), Wait: ms(301)}, Cause: closed.Cause, Incident: closed.ID, Error: "EOF",
			},
			{
				Upstream: "search:9200", Address: "10.0.0.9:9200", LocalAddress: "10.0.0.2:51736", Protocol: "http/1.1", Reused: new(false), StartMS: 545, DurationMS: 10_002,
				PhasesMS: failure.Phases{Connect: ms(0.4), Send: ms(0.1), Wait: ms(10_001)}, Cause: slow.Cause, Incident: slow.ID, Error: "net/http: timeout awaiting response headers",
			},
		}
	})
	s.fails("5jn3f74mq", 5*time.Minute, expired, "/invoices/2026-10", nil)
	s.fails("zff9ge3t7", 6*time.Minute, refused, "/api/cart?id=REDACTED", nil)

	for n, ago := range []time.Duration{4 * time.Minute, 2 * time.Minute, 20 * time.Second} {
		p := failure.Probe{Upstream: refused.Upstream, Time: s.ago(ago), Summary: refused.Summary, Cause: refused.Cause, Steps: []failure.ProbeStep{
			{Step: failure.ProbeDNS, OK: true, DurationMS: 0.4, Name: "app", Addresses: []string{"10.0.0.7"}},
			{Step: failure.ProbeConnect, DurationMS: 0.2, Address: "10.0.0.7:8080", Error: "connection refused"},
		}}
		if n == 2 {
			p.OK, p.Cause, p.Summary = true, "", "app:8080 answered 204 in HTTP/1.1."
			p.Steps[1].OK, p.Steps[1].Error = true, ""
			p.Steps = append(p.Steps, failure.ProbeStep{Step: failure.ProbeHTTP, OK: true, DurationMS: 3.1, Status: 204, Protocol: "http/1.1", Server: "gunicorn"})
		}
		s.incidents[0].Probes = append(s.incidents[0].Probes, p)
	}

	warning := failure.Warning{
		Kind: failure.WarnCertificate, Upstream: "mail.internal:443", Summary: "The certificate of mail.internal:443 ends in 6 days.", Advice: "Renew it at the upstream.",
		Evidence: []string{"CN=mail.internal, valid until " + failure.At(s.now.Add(6*24*time.Hour)).String()}, FirstSeen: s.ago(24 * time.Hour), LastSeen: s.ago(time.Minute), Count: 14,
	}
	up := func(name string, change func(*failure.UpstreamState)) {
		u := failure.UpstreamState{Upstream: name, Address: name, Sites: []string{"shop.example.com"}, Transport: "http", Protocol: "http/1.1", InFlight: new(2), LastSuccess: new(s.ago(time.Second))}
		change(&u)
		s.board.Upstreams = append(s.board.Upstreams, u)
	}
	up("app:8080", func(u *failure.UpstreamState) {
		u.Reason, u.Fails, u.MaxFails, u.InFlight, u.OpenIncidents = failure.ReasonFails, new(2), 2, new(0), []string{refused.ID}
		u.FailingSince, u.LastSuccess, u.LastFailure = new(refused.FirstSeen), new(refused.FirstSeen), &failure.LastFailure{ID: "k3f9qw2ax", Time: s.ago(14 * time.Second), Cause: refused.Cause}
	})
	up("billing.internal:443", func(u *failure.UpstreamState) {
		u.TLS, u.Protocol, u.OpenIncidents, u.FailingSince, u.LastSuccess = true, "", []string{expired.ID}, new(expired.FirstSeen), new(s.ago(51*time.Minute))
		u.LastFailure, u.CertificateNotAfter = &failure.LastFailure{ID: "dkps5012j", Time: s.ago(5 * time.Second), Cause: expired.Cause}, new(s.ago(49*time.Hour))
	})
	up("mail.internal:443", func(u *failure.UpstreamState) {
		u.TLS, u.Protocol, u.InFlight, u.Warnings, u.CertificateNotAfter = true, "", new(0), []failure.Warning{warning}, new(failure.At(s.now.Add(6*24*time.Hour+time.Hour)))
	})
	up("search:9200", func(u *failure.UpstreamState) {
		u.LastFailure = &failure.LastFailure{ID: "kw22fca6v", Time: s.ago(4 * time.Minute), Cause: slow.Cause}
	})
	return s
}

// The pictures of docs/img: DOCS_PICTURES says where to, ../docs/img.
func TestDocPictures(t *testing.T) {
	dir := os.Getenv("DOCS_PICTURES")
	if dir == "" {
		t.Skip("DOCS_PICTURES names no folder")
	}
	d := operator.NewDashboard(openShop(), slices.Collect(cause.Rows()))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Serve(w, r, operator.Visitor{URL: *r.URL})
	}))
	t.Cleanup(server.Close)
	b := openTab(t)
	for _, picture := range []struct {
		name, page, scheme string
		width, height      int64
	}{
		{"dashboard", "/", "light", 1120, 1120},
		{"dashboard-failures", "/failures", "light", 1200, 760},
		{"dashboard-incident", "/incidents/57d54133a3361326", "light", 1120, 1020},
		{"dashboard-upstreams", "/upstreams", "dark", 1120, 930},
		{"dashboard-phone", "/", "dark", 400, 1300},
		{"failure", "/failures/kw22fca6v", "light", 1120, 1830},
	} {
		b.sees(t, picture.scheme, picture.width)
		tell(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: picture.width, Height: picture.height, DeviceScaleFactor: 1})
		b.do(t, chromedp.Navigate(server.URL+picture.page))
		drawn := result(t, b, chromedp.CaptureScreenshot())
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.png", picture.name)), drawn, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.clean(t, server.URL)
}
