package diagnostics

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

const day = 24 * time.Hour

// secured is an upstream that speaks h1, h2 or h3, and shows a certificate of that name which
// ends then.
func secured(t *testing.T, protocol, name string, notAfter time.Time) (address string) {
	t.Helper()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	config := &tls.Config{Certificates: []tls.Certificate{endingAt(t, name, notAfter)}}
	if protocol == "h3" {
		return servedByHTTP3(t, config, answer)
	}
	server := httptest.NewUnstartedServer(answer)
	server.TLS, server.EnableHTTP2 = config, protocol == "h2"
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func servedByHTTP3(t *testing.T, config *tls.Config, answer http.Handler) (address string) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: answer, TLSConfig: config}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(conn) // always returns an error
	}()
	t.Cleanup(func() { server.Close(); conn.Close(); <-ended })
	return conn.LocalAddr().String()
}

func endingAt(t *testing.T, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-400 * day), NotAfter: notAfter,
		DNSNames: []string{"app.internal"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// warningsAt are those of an upstream, by kind; "" asks for those of the process.
func warningsAt(c *testcaddy.Caddy, upstream string) map[failure.WarningKind]failure.Warning {
	c.T.Helper()
	found := make(map[failure.WarningKind]failure.Warning)
	board := boardOf(c, "")
	list := board.Warnings
	for _, s := range board.Upstreams {
		if s.Upstream == upstream && upstream != "" {
			list = s.Warnings
		}
	}
	for _, w := range list {
		if w.Upstream != upstream {
			c.T.Errorf("a warning of %q at %q", w.Upstream, upstream)
		}
		if w.Summary == "" || w.Advice == "" || strings.ContainsAny(w.Summary+w.Advice+strings.Join(w.Evidence, ""), "{}") || w.Count == 0 || w.FirstSeen.After(w.LastSeen.Time) {
			c.T.Errorf("not whole: %+v", w)
		}
		found[w.Kind] = w
	}
	return found
}

// nearMisses are how many there were of each kind.
func nearMisses(upstream string) map[failure.WarningKind]uint64 {
	counts := make(map[failure.WarningKind]uint64)
	for of, n := range currentProcess().warnings.Counts() {
		if of.Upstream == upstream {
			counts[of.Kind] = n
		}
	}
	return counts
}

// nothing is used up.
var enough = machine{func() (host.Usage, bool) { return host.Usage{}, false }, func() (host.Usage, string, bool) { return host.Usage{}, "", false }}

// sweep is what the App does from time to time.
func sweep(at time.Time) { currentProcess().sweepWarnings(zap.NewNop(), at, enough) }

// A certificate that ends soon is warned of, and its end known of each.
func TestWarningOfACertificate(t *testing.T) {
	hostile := "\x1b[31mevil\r\n\"app\" " + strings.Repeat("x", 300)
	for _, test := range []struct {
		name, subject string
		ends          time.Duration
		says          string // "" for no warning
	}{
		{"in five days", "app.internal", 5*day + time.Hour, "ends in 5 days."},
		{"in forty days", "app.internal", 40 * day, ""},
		{"three weeks ago", "app.internal", -21 * day, "ended 21 days ago, and is let pass."},
		{"with a hostile name", hostile, 5*day + time.Hour, "ends in 5 days."},
		{"without a name", "", 13*day + time.Hour, "ends in 13 days."},
	} {
		for _, way := range []struct {
			name, protocol, more, inTransport string
			handshakes                        uint64 // of three requests
		}{
			{"plainly", "h1", "", "keepalive off", 3},
			{"with active checks", "h1", "health_uri /\nhealth_interval 1h\n", "keepalive off", 3},
			{"by a dialer of its own", "h1", "", "tls_server_name {http.request.host}\nkeepalive off", 3},
			{"over HTTP/2", "h2", "", "versions 2", 1},
			{"over HTTP/3", "h3", "", "versions 3", 1},
		} {
			t.Run(test.name+" "+way.name, func(t *testing.T) {
				notAfter := time.Now().Add(test.ends).UTC().Truncate(time.Second)
				upstream := secured(t, way.protocol, test.subject, notAfter)
				l := testcaddy.NewLogFile(t)
				c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy https://"+upstream+" {\n"+way.more+"transport http {\ntls_insecure_skip_verify\n"+way.inTransport+"\n}\n}")
				for range 3 {
					if answer := c.Get("/"); answer.Status != http.StatusNoContent {
						t.Fatalf("got %d", answer.Status)
					}
				}
				state := stateOf(c, upstream)
				if state.CertificateNotAfter == nil || !state.CertificateNotAfter.Equal(notAfter) || state.LastSuccess == nil {
					t.Errorf("its certificate ends %v, want %s", state.CertificateNotAfter, notAfter)
				}
				ends := make(map[string]time.Time)
				for upstream, at := range currentProcess().certificateEnds() {
					ends[upstream] = at
				}
				if len(ends) != 1 || !ends[upstream].Equal(notAfter) {
					t.Errorf("%v", ends)
				}
				w, warned := warningsAt(c, upstream)[failure.WarnCertificate]
				if warned != (test.says != "") || warned && (!strings.HasSuffix(w.Summary, test.says) || w.Count != way.handshakes || w.Certificate == nil || !w.Certificate.NotAfter.Equal(notAfter)) {
					t.Fatalf("%t %+v", warned, w)
				}
				lines := l.Entries(warningMessage)
				if !warned {
					if len(lines) != 0 {
						t.Errorf("lines %v", lines)
					}
					return
				}
				if len(lines) != 1 || lines[0]["level"] != "warn" || lines[0]["kind"] != string(failure.WarnCertificate) || lines[0]["upstream"] != upstream || lines[0]["summary"] != w.Summary {
					t.Errorf("lines %v", lines)
				}
				byPlaceholder := strings.Contains(way.inTransport, "{") // a client asks for the name
				if name := w.Certificate.Name; len(name) > 256 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) || test.subject == "" && name != "app.internal" && !byPlaceholder || byPlaceholder && name != "" {
					t.Errorf("its name is %q", name)
				}
				if n := nearMisses(upstream)[failure.WarnCertificate]; n != way.handshakes {
					t.Errorf("%d are counted", n)
				}
				// It stays as long as it is the last that was shown.
				if sweep(time.Now().Add(3 * time.Hour)); len(warningsAt(c, upstream)) != 1 {
					t.Error("it was forgotten, and is shown still")
				}
			})
		}
	}
}

// Once another certificate is shown, or no config names the upstream, the warning is over.
func TestWarningOfACertificateEnds(t *testing.T) {
	shown := make(chan tls.Certificate, 1)
	shown <- endingAt(t, "app.internal", time.Now().Add(5*day))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		certificate := <-shown
		shown <- certificate
		return &tls.Config{Certificates: []tls.Certificate{certificate}}, nil
	}}
	server.StartTLS()
	defer server.Close()
	upstream := server.Listener.Addr().String()
	site := "upstream_diagnostics\nreverse_proxy https://" + upstream + " {\ntransport http {\ntls_insecure_skip_verify\nkeepalive off\n}\n}"
	c := testcaddy.Start(t, site)
	c.Get("/")
	sweep(time.Now())
	if len(warningsAt(c, upstream)) != 1 {
		t.Fatal("it is not warned of")
	}
	<-shown
	shown <- endingAt(t, "app.internal", time.Now().Add(90*day))
	c.Get("/")
	if sweep(time.Now()); len(warningsAt(c, upstream)) != 0 {
		t.Errorf("it was renewed: %+v", warningsAt(c, upstream))
	}
	<-shown
	shown <- endingAt(t, "app.internal", time.Now().Add(4*day))
	c.Get("/")
	if n := nearMisses(upstream)[failure.WarnCertificate]; n != 2 || len(warningsAt(c, upstream)) != 1 {
		t.Errorf("%d are counted", n)
	}
	if err := c.Load("", "respond fine"); err != nil {
		t.Fatal(err)
	}
	sweep(time.Now())
	var overview failure.Overview
	if c.AdminGet("/upstream_diagnostics", &overview); overview.Warnings != 0 {
		t.Errorf("%d warnings of upstreams that nobody names", overview.Warnings)
	}
	if n := nearMisses(upstream)[failure.WarnCertificate]; n != 2 {
		t.Errorf("counted were %d, which never go down", n)
	}
}

// Whoever fails while others serve its visitors is warned of, with its last failure.
func TestWarningOfTheRescued(t *testing.T) {
	one, two, good := testcaddy.Dead(t), testcaddy.Dead(t), testcaddy.Good(t)
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy "+one+" "+two+" "+good+" {\nlb_policy round_robin\nlb_retries 2\n}")
	testcaddy.Eventually(t, "both were met", func() bool {
		if answer := c.Get("/"); answer.Body != "good" {
			t.Fatalf("%+v", answer)
		}
		return len(warningsAt(c, one)) == 1 && len(warningsAt(c, two)) == 1
	})
	c.Idle()
	met := 0
	for _, f := range c.Failures("limit=1000") {
		if f.FailedAttempt(one) != nil {
			met++
		}
	}
	w := warningsAt(c, one)[failure.WarnRescued]
	last := c.Failures("upstream=" + one)[0]
	if w.Count != uint64(met) || nearMisses(one)[failure.WarnRescued] != uint64(met) || w.LastFailure != last.ID || w.LastCause != "connection_refused" || w.Measured != nil ||
		!slices.ContainsFunc(w.Evidence, func(line string) bool { return strings.Contains(line, last.ID) }) {
		t.Errorf("%d times: %+v", met, w)
	}
	if len(warningsAt(c, good)) != 0 {
		t.Errorf("the one that served: %+v", warningsAt(c, good))
	}
	if lines := l.Entries(warningMessage); len(lines) != 2 {
		t.Errorf("lines %v", lines)
	}
	var overview failure.Overview
	if c.AdminGet("/upstream_diagnostics", &overview); overview.Warnings != 2 {
		t.Errorf("%d warnings", overview.Warnings)
	}
	if sweep(time.Now().Add(59 * time.Minute)); warningsAt(c, one)[failure.WarnRescued].Count == 0 {
		t.Error("it is forgotten within an hour")
	}
	if sweep(time.Now().Add(61 * time.Minute)); warningsAt(c, one)[failure.WarnRescued].Count != 0 {
		t.Error("after an hour of silence it is not forgotten")
	}
	if answer := c.Get("/"); answer.Body != "good" {
		t.Fatalf("%+v", answer)
	}
}

// Requests that are held bring their upstream near the number that it may have.
func TestWarningOfRequestsInFlight(t *testing.T) {
	release := make(chan struct{})
	came := make(chan struct{}, 10)
	held := testcaddy.Upstream(t, func(http.ResponseWriter, *http.Request) {
		came <- struct{}{}
		<-release
	})
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+held+" {\nunhealthy_request_count 5\nfail_duration 1m\n}\n")
	done := make(chan int)
	ask := func() {
		go func() { done <- c.Get("/").Status }()
		<-came
	}
	for range 3 {
		ask()
	}
	if s := stateOf(c, held); len(s.Warnings) != 0 || *s.InFlight != 3 || s.MaxRequests != 5 || s.Reason != "" {
		t.Errorf("three of five: %+v", s)
	}
	ask()
	w := warningsAt(c, held)[failure.WarnRequests]
	if w.Measured == nil || *w.Measured != (failure.Measured{Name: "unhealthy_request_count", Value: 4, Limit: 5, Unit: "requests"}) || w.Count != 1 ||
		w.Summary != held+" had 4 requests at a time, of at most 5." || !slices.Contains(w.Evidence, "4 requests of unhealthy_request_count 5 requests, which is 80 %") {
		t.Errorf("%+v", w)
	}
	ask()
	if s := stateOf(c, held); s.Reason != failure.ReasonFull || s.Healthy == nil || !*s.Healthy || *s.InFlight != 5 || s.Warnings[0].Count != 2 {
		t.Errorf("five of five: %+v", s)
	}
	if answer := c.AdminDo(http.MethodGet, "/upstreams?format=text"); !strings.Contains(answer.Body, "full") || !strings.Contains(answer.Body, "5 of 5") || !strings.Contains(answer.Body, "\nWarning: "+held+" had 5 requests") {
		t.Errorf("%s", answer.Body)
	}
	close(release)
	for range 5 {
		if status := <-done; status != http.StatusOK {
			t.Errorf("got %d", status)
		}
	}
}

// What this process has open is measured, and the warning ends with what it is about.
func TestWarningOfFilesAndPorts(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	c := testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	open, known := host.Files()
	if !known {
		open = host.Usage{Used: 10} // elsewhere than on Linux
	}
	lowered := machine{
		func() (host.Usage, bool) { return host.Usage{Used: open.Used, Limit: open.Used + 1}, true },
		func() (host.Usage, string, bool) { return host.Usage{Used: 90, Limit: 100}, "10.0.0.7:8080", true },
	}
	p := currentProcess()
	for range 3 {
		p.sweepWarnings(p.running[0].logger, time.Now(), lowered)
	}
	files, ports := warningsAt(c, "")[failure.WarnOpenFiles], warningsAt(c, "")[failure.WarnLocalPorts]
	if files.Count != 1 || files.Measured == nil || files.Measured.Limit != float64(open.Used+1) || files.Measured.Unit != "files" ||
		files.Summary != fmt.Sprintf("This process has %d files open, of at most %d.", open.Used, open.Used+1) {
		t.Errorf("%+v", files)
	}
	if ports.Count != 1 || ports.Summary != "Connections to 10.0.0.7:8080 hold 90 ports, of 100 local ones." || nearMisses("")[failure.WarnLocalPorts] != 1 {
		t.Errorf("%+v", ports)
	}
	if lines := l.Entries(warningMessage); len(lines) != 2 {
		t.Errorf("lines %v", lines)
	}
	almost := machine{func() (host.Usage, bool) { return host.Usage{Used: 79, Limit: 100}, true }, enough.ports}
	if p.sweepWarnings(zap.NewNop(), time.Now(), almost); len(warningsAt(c, "")) != 0 {
		t.Errorf("over: %+v", warningsAt(c, ""))
	}
	if p.sweepWarnings(zap.NewNop(), time.Now(), lowered); nearMisses("")[failure.WarnOpenFiles] != 2 {
		t.Errorf("%v are counted", nearMisses(""))
	}
	p.sweepWarnings(zap.NewNop(), time.Now(), thisMachine) // as it is
}

// Whoever was asked and never answered is warned of, until it does; who was never asked
// is not.
func TestWarningOfWhoNeverAnswered(t *testing.T) {
	_, gone, _ := net.SplitHostPort(testcaddy.Dead(t))
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	silent, unasked, checked, failing, refused := testcaddy.Dead(t), testcaddy.Dead(t), testcaddy.Dead(t), testcaddy.Upstream(t, fails), testcaddy.Upstream(t, fails)
	site := `handle /silent {
	upstream_diagnostics
	reverse_proxy ` + silent + `
}
handle /failing {
	upstream_diagnostics
	reverse_proxy ` + failing + `
}
handle /unasked {
	upstream_diagnostics
	reverse_proxy ` + unasked + `
}
handle /placeholder {
	upstream_diagnostics
	reverse_proxy {query.to}
}
handle /checked {
	upstream_diagnostics
	reverse_proxy ` + checked + ` {
		health_uri /
		health_interval 1h
	}
}
handle /refused {
	upstream_diagnostics
	reverse_proxy ` + refused + ` {
		health_uri /
		health_interval 1h
	}
}
handle /source {
	upstream_diagnostics
	reverse_proxy {
		dynamic srv _http._tcp.app.invalid {
			resolvers ` + unasked + `
			dial_timeout 1s
		}
	}
}
handle /gave {
	upstream_diagnostics
	reverse_proxy {
		dynamic a localhost ` + gone + `
	}
}`
	c := testcaddy.Start(t, site)
	for _, path := range []string{"/gave", "/silent", "/failing", "/placeholder?to=" + silent, "/source"} {
		c.Get(path)
	}
	c.Idle()
	for _, upstream := range []string{checked, refused} {
		testcaddy.Eventually(t, "the check has failed", func() bool { return stateOf(c, upstream).Reason == failure.ReasonUnhealthy })
	}
	for range 2 {
		sweep(time.Now())
		for _, upstream := range []string{checked, refused} {
			testcaddy.Eventually(t, "what the check got is told", func() bool { return strings.Contains(stateOf(c, upstream).Check, "got ") })
		}
	}
	source := "srv _http._tcp.app.invalid"
	for upstream, want := range map[string]bool{silent: true, failing: false, unasked: false, checked: true, refused: false, "{http.request.uri.query.to}": false, source: true, "a localhost:" + gone: false} {
		w, warned := warningsAt(c, upstream)[failure.WarnNeverAnswered]
		if warned != want || warned && w.Count != 1 {
			t.Errorf("%s: %t %+v", upstream, warned, w)
		}
		if upstream == silent && (w.LastFailure == "" || w.LastCause != "connection_refused") {
			t.Errorf("%+v", w)
		}
	}
	ln, err := net.Listen("tcp", silent)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	if answer := c.Get("/silent"); answer.Status != http.StatusNoContent {
		t.Fatalf("got %d", answer.Status)
	}
	if sweep(time.Now()); len(warningsAt(c, silent)) != 0 {
		t.Errorf("it has answered: %+v", warningsAt(c, silent))
	}
	// After a reload it has not answered yet, and was not asked either.
	server.Close()
	if err := c.Load("", strings.Replace(site, "/silent", "/quiet", 1)); err != nil {
		t.Fatal(err)
	}
	if sweep(time.Now()); len(warningsAt(c, silent)) != 0 {
		t.Errorf("nobody asked it: %+v", warningsAt(c, silent))
	}
	c.Get("/quiet")
	c.Idle()
	if sweep(time.Now()); len(warningsAt(c, silent)) != 1 {
		t.Error("since the config was loaded it has not answered")
	}
}

// Each kind is in the documentation, with what is said of it.
func TestWarningsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for row := range cause.Warnings() {
		if line := fmt.Sprintf("| `%s` | %s | %s |\n", row.Kind, row.Meaning, strings.NewReplacer("{upstream}", "the upstream", "{name}", "the limit").Replace(row.Advice)); !strings.Contains(string(text), line) {
			t.Errorf("docs/operating.md lacks the line %s", line)
		}
	}
}

// A storm of warnings is summed up in the log as all others.
func TestWarningsInAStorm(t *testing.T) {
	l := testcaddy.NewLogFile(t)
	testcaddy.StartWith(t, l.OfOurs(), "upstream_diagnostics\nreverse_proxy "+testcaddy.Dead(t))
	p := currentProcess()
	now := time.Now()
	for range 2 * journal.StormLines {
		p.raise(p.running[0].logger, failure.Warning{Kind: failure.WarnRescued, Upstream: "app:80", LastSeen: failure.At(now)})
		p.warnings.Sweep(now.Add(2*time.Hour), func(string) bool { return true }, func(string) time.Time { return time.Time{} })
	}
	if lines := l.Entries(warningMessage); len(lines) != journal.StormLines {
		t.Errorf("%d lines", len(lines))
	}
}
