package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// knowing is a Lookup that finds everything.
func knowing() Lookup {
	return Lookup{
		Guide: func(cause string) Guide {
			return Guide{
				Reasons: []string{"it has crashed", "it <listens> elsewhere"}, Caddy: "Correct the port of " + cause + ".",
				Caddyfile: "reverse_proxy app:8080 {\n\tlb_try_duration 10s\n}", Docker: "Use its name.", Application: "Look at its log.",
			}
		},
		Summary:     func(id string) string { return "Summary of " + id + "." },
		FailureURL:  func(id string) string { return "failures/" + id },
		IncidentURL: func(id string) string { return "incidents/" + id },
		Visitors:    []string{"This site is down", "", "Try again."},
	}
}

// parsed is the fragment as a browser has it.
func parsed(t *testing.T, l Lookup, f *failure.Failure) *html.Node {
	t.Helper()
	drawn, err := l.HTML(f)
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(string(drawn)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var text strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			text.WriteString(d.Data)
		}
	}
	return text.String()
}

// all are the elements of a name, and of a class where one is given.
func all(root *html.Node, name, class string) (found []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name && (class == "" || slices.Contains(strings.Fields(attribute(n, "class")), class)) {
			found = append(found, n)
		}
	}
	return found
}

func TestFragmentStructure(t *testing.T) {
	root := parsed(t, knowing(), whole())
	var headings []string
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && slices.Contains([]string{"h1", "h2", "h3", "h4", "summary"}, n.Data) {
			headings = append(headings, n.Data+" "+textOf(n))
		}
	}
	want := []string{
		"h2 Nothing accepts connections at app:8080.", "summary What these words mean", "h3 What to do", "h4 Usual reasons", "h4 In Caddy", "summary Other places to change it",
		"h3 Evidence", "h3 Attempts the request took 100 ms", "h3 Not available", "h3 Request", "h3 Upstream", "h3 Record", "summary What visitors see",
	}
	if !slices.Equal(headings, want) {
		t.Errorf("got  %q\nwant %q", headings, want)
	}
	links := map[string]string{}
	for _, a := range all(root, "a", "") {
		links[textOf(a)] = attribute(a, "href")
	}
	for text, href := range map[string]string{
		"More about this cause": DocsURL + "#connection_refused", "k3f9qw2ay": "failures/k3f9qw2ay", "c7d1aa": "incidents/c7d1aa",
	} {
		if links[text] != href {
			t.Errorf("%s leads to %q, want %q", text, links[text], href)
		}
	}
	times := map[string]string{}
	for _, n := range all(root, "time", "") {
		times[attribute(n, "datetime")] = textOf(n)
	}
	if times["2026-11-24T04:11:56.000Z"] != "for 29.9 s more" || times["2026-11-24T04:11:26.123Z"] != "2026-11-24T04:11:26.123Z" {
		t.Errorf("times %q", times)
	}
	article := all(root, "article", "uf")[0]
	for _, want := range []string{
		"it <listens> elsewhere", "Correct the port of connection_refused.", "reverse_proxy app:8080 {\n\tlb_try_duration 10s\n}",
		"Use its name.", "Look at its log.", "Last failure: Summary of k3f9qw2ay.", "This site is down", "Try again.",
	} {
		if !strings.Contains(textOf(article), want) {
			t.Errorf("no %q in\n%s", want, textOf(article))
		}
	}
	for _, details := range all(root, "details", "") {
		if attribute(details, "open") != "" {
			t.Error("what is folded is open")
		}
	}
	if attribute(article, "dir") != "ltr" || attribute(article, "lang") != "en" {
		t.Error("the article doesn't say its language and direction")
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "style" || a.Key == "id" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("%s has %s", n.Data, a.Key)
			}
		}
	}
	// Without a catalogue and all else.
	bare := textOf(parsed(t, Lookup{}, &failure.Failure{Summary: "Only this."}))
	for _, not := range []string{"Usual reasons", "Attempts", "Evidence", "Not available", "What to do", "Last failure"} {
		if strings.Contains(bare, not) {
			t.Errorf("an empty record has %q", not)
		}
	}
}

// attemptAt is one whose phases are as long as ms says.
func attemptAt(start, took failure.Milliseconds, cause string, ms ...failure.Milliseconds) failure.Attempt {
	a := failure.Attempt{Upstream: "app:8080", StartMS: start, DurationMS: took, Cause: cause}
	for i, place := range []**failure.Milliseconds{&a.PhasesMS.Connect, &a.PhasesMS.Wait} {
		if i < len(ms) {
			*place = pointer(ms[i])
		}
	}
	return a
}

func TestOneAxis(t *testing.T) {
	for name, test := range map[string]struct {
		took     failure.Milliseconds
		attempts []failure.Attempt
		want     []string // each attempt's whole, its bars, and where it failed
		ticks    string
	}{
		"one after the other": {
			1000,
			[]failure.Attempt{attemptAt(0, 250, "x", 50, 200), attemptAt(500, 500, "", 100, 400)},
			[]string{"0%+25% 0%+5% 5%+20% ✕25%", "50%+50% 50%+10% 60%+40%"},
			"0 0%, 200 ms 20%, 400 ms 40%, 600 ms 60%, 800 ms 80%, 1 s 100%",
		},
		"at the same time": {
			100,
			[]failure.Attempt{attemptAt(0, 100, "", 10), attemptAt(20, 50, "x", 50)},
			[]string{"0%+100% 0%+10%", "20%+50% 20%+50% ✕70%"},
			"0 0%, 20 ms 20%, 40 ms 40%, 60 ms 60%, 80 ms 80%, 100 ms 100%",
		},
		"longer than the request": {
			10, []failure.Attempt{attemptAt(10, 30, "x")}, []string{"25%+75% ✕100%"}, "0 0%, 10 ms 25%, 20 ms 50%, 30 ms 75%, 40 ms 100%",
		},
		"no time at all": {
			1000, []failure.Attempt{attemptAt(0, 0, "x", 0), attemptAt(1000, 0, "x", 0)}, []string{"0%+0.8% 0%+0.8% ✕0.8%", "99.2%+0.8% 99.2%+0.8% ✕100%"}, "",
		},
		"an answer came, so no phase failed": {
			100, []failure.Attempt{{StartMS: 0, DurationMS: 60, Cause: "x", Status: 503, PhasesMS: failure.Phases{Wait: pointer(failure.Milliseconds(50))}}},
			[]string{"0%+60% 0%+50% ✕60%"}, "",
		},
		"nobody was asked": {3, nil, nil, "0 0%, 0.5 ms 16.7%, 1 ms 33.3%, 1.5 ms 50%, 2 ms 66.7%, 2.5 ms 83.3%, 3 ms 100%"},
		"nothing known":    {0, nil, nil, "0 0%"},
		"a nan":            {failure.Milliseconds(math.NaN()), nil, nil, "0 0%"},
		"without an end":   {failure.Milliseconds(math.Inf(1)), []failure.Attempt{attemptAt(1, 1, "")}, []string{"0%+0.8%"}, "0 0%"},
		"next to nothing":  {0.03, nil, nil, "0 0%, 0.005 ms 16.7%, 0.01 ms 33.3%, 0.015 ms 50%, 0.02 ms 66.7%, 0.025 ms 83.3%, 0.03 ms 100%"},
		"half a minute":    {31_000, nil, nil, "0 0%, 10 s 32.3%, 20 s 64.5%, 30 s 96.8%"},
		"some minutes":     {250_000, nil, nil, "0 0%, 1m 24%, 2m 48%, 3m 72%, 4m 96%"},
		"some hours":       {2.5 * 3_600_000, nil, nil, "0 0%, 30m 20%, 1h 40%, 1h30m 60%, 2h 80%, 2h30m 100%"},
		"a week":           {7 * 24 * 3_600_000, nil, nil, "0 0%, 48h 28.6%, 96h 57.1%, 144h 85.7%"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failure.Failure{DurationMS: test.took, Attempts: test.attempts, AttemptCount: len(test.attempts)}
			v := Lookup{}.look(f)
			var drawn []string
			for _, a := range v.Attempts {
				row := a.Whole.X() + "+" + a.Whole.Wide()
				for _, bar := range a.Bars {
					row += " " + bar.X() + "+" + bar.Wide()
				}
				if a.FailedAt() != "" {
					row += " ✕" + a.FailedAt()
				}
				drawn = append(drawn, row)
			}
			if !slices.Equal(drawn, test.want) {
				t.Errorf("got  %q\nwant %q", drawn, test.want)
			}
			var points []string
			for _, tick := range v.Ticks {
				points = append(points, tick.Label+" "+tick.X())
			}
			if got := strings.Join(points, ", "); test.ticks != "" && got != test.ticks {
				t.Errorf("axis %s, want %s", got, test.ticks)
			}
			// And so they stand in the fragment.
			marks := all(parsed(t, Lookup{}, f), "svg", "uf-mark")
			var at []string
			for _, mark := range marks {
				at = append(at, "✕"+attribute(mark, "x"))
			}
			if got, want := strings.Join(at, " "), strings.Join(marksOf(test.want), " "); got != want {
				t.Errorf("the fragment's marks are at %q, want %q", got, want)
			}
		})
	}
}

func marksOf(rows []string) (marks []string) {
	for _, row := range rows {
		if _, mark, ok := strings.Cut(row, "✕"); ok {
			marks = append(marks, "✕"+mark)
		}
	}
	return marks
}

// An axis of any length has few points, in their order, none outside.
func TestTicks(t *testing.T) {
	for length := failure.Milliseconds(0.001); length < 1e9; length *= 1.07 {
		points := ticks(length)
		if len(points) < 3 && length > 0.0011 || len(points) > mostTicks+1 {
			t.Errorf("%v ms: %v", length, points)
		}
		for i, point := range points[1:] {
			if point.At <= points[i].At || point.At > thousandths || point.Label == points[i].Label {
				t.Errorf("%v ms: %v", length, points)
			}
		}
	}
}

// The phase that failed is told by its shape and in words, not by its colour alone.
func TestFailedPhase(t *testing.T) {
	root := parsed(t, Lookup{}, whole())
	bad := all(root, "rect", "uf-bad")
	if len(bad) != 1 || attribute(bad[0], "x") != "80%" || attribute(bad[0], "width") != "20%" || textOf(bad[0]) != "connect: started at 80 ms, took 20 ms" {
		t.Errorf("%d bars failed: %v", len(bad), bad)
	}
	rows := all(root, "li", "uf-row")
	if text := textOf(rows[1]); !strings.Contains(text, "✕connect 20 ms, failed here") || strings.Contains(textOf(rows[0]), "failed here") {
		t.Errorf("rows %q, %q", textOf(rows[0]), text)
	}
	for i, want := range []string{"started at 0 ms, took 60 ms: send 10 ms, wait 50 ms", "started at 70 ms, took 30 ms: dns 10 ms, connect 20 ms (failed here)"} {
		picture := all(rows[i], "svg", "")[0]
		if attribute(picture, "role") != "img" || attribute(picture, "aria-label") != want {
			t.Errorf("attempt %d is read as %q, want %q", i, attribute(picture, "aria-label"), want)
		}
	}
}

func TestUnavailable(t *testing.T) {
	at := time.Date(2026, 11, 24, 4, 11, 26, 0, time.UTC)
	until := func(after time.Duration) *failure.Timestamp { return pointer(failure.At(at.Add(after))) }
	for name, test := range map[string]struct {
		at   time.Time
		u    failure.Unavailable
		want string
	}{
		"4 s more":      {at, failure.Unavailable{Reason: failure.ReasonFails, Until: until(4 * time.Second)}, "failed too often (max_fails), for 4 s more (until 2026-11-24T04:11:30.000Z)"},
		"over by then":  {at, failure.Unavailable{Reason: failure.ReasonFails, Until: until(-time.Second)}, "failed too often (max_fails), until 2026-11-24T04:11:25.000Z"},
		"no time known": {time.Time{}, failure.Unavailable{Reason: failure.ReasonFails, Until: until(0)}, "failed too often (max_fails), until 2026-11-24T04:11:26.000Z"},
		"last failure":  {at, failure.Unavailable{Reason: failure.ReasonFails, LastFailure: "abc", LastCause: "dns_timeout"}, "failed too often (max_fails); last failure abc (dns_timeout): Summary of abc."},
		"a check":       {at, failure.Unavailable{Reason: failure.ReasonUnhealthy, LastFailure: "abc", LastCause: "dns_timeout", Check: "GET / got 500"}, "fails its active health check; GET / got 500"},
		"full":          {at, failure.Unavailable{Reason: failure.ReasonFull, LastFailure: "abc", LastCause: "dns_timeout"}, "full (unhealthy_request_count)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failure.Failure{Unavailable: []failure.Unavailable{test.u}}
			if !test.at.IsZero() {
				f.Time = failure.At(test.at)
			}
			if got := knowing().look(f).Unavailable[0].text(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// What was said is not said again.
func TestNothingTwice(t *testing.T) {
	f := &failure.Failure{
		Upstream: "unix//run/app.sock", Cause: "socket_not_found", ProxyError: "connection_refused", Error: "no such file",
		Evidence: []string{"connect: ENOENT"}, AttemptCount: 3, DurationMS: 12,
		Attempts: []failure.Attempt{
			{Upstream: "unix//run/app.sock", Address: "/run/app.sock", Error: "no such file", Errno: "ENOENT", Cause: "socket_not_found"},
			{Upstream: "unix//run/app.sock", Address: "/run/app.sock", Error: "no such file", Errno: "ENOENT", Cause: "socket_not_found"},
			{Upstream: "app:1", Address: "10.0.0.7:1", Error: "no such file", Cause: "socket_not_found"},
		},
	}
	rows := Lookup{}.look(f).Attempts
	for i, want := range []string{"[] no such file", "[] ", "[at 10.0.0.7:1] no such file"} {
		if got := fmt.Sprintf("%v %s", rows[i].Path, rows[i].Error); got != want {
			t.Errorf("attempt %d: %s, want %s", i, got, want)
		}
	}
	labels := func(f *failure.Failure) string {
		var labels []string
		for _, group := range (Lookup{}).groups(f) {
			for _, one := range group.Facts {
				labels = append(labels, one.Label)
			}
		}
		return strings.Join(labels, " ")
	}
	if got := labels(f); got != "Proxy error" {
		t.Errorf("facts %q", got)
	}
	f.Attempts, f.ProxyError = nil, f.Cause
	if got := labels(f); got != "Configured Error Duration" {
		t.Errorf("facts %q", got)
	}
}

// Without the words of a page, the outcome and the category tell what visitors see.
func TestVisitors(t *testing.T) {
	for _, outcome := range failure.Outcomes {
		f := whole()
		f.Outcome, f.Status = outcome, 502
		text := textOf(all(parsed(t, Lookup{}, f), "article", "uf")[0])
		_, said, ok := strings.Cut(text, "What visitors see")
		told := outcome == failure.Failed || outcome == failure.UpstreamAnswered
		if !ok || len(said) < 20 || strings.Contains(said, "This site is not available") != told || strings.Contains(said, "502") != (outcome != failure.Abandoned) {
			t.Errorf("%s: %q", outcome, said)
		}
	}
}

// What is drawn in a text stays within 100 columns; its sentences are one line each.
func TestTextColumns(t *testing.T) {
	f := whole()
	f.Attempts, f.AttemptCount, f.DurationMS = nil, 100, 59_999
	for i := range failure.MaxAttempts {
		a := attemptAt(failure.Milliseconds(i)*3999, 3888.88, "connection_refused", 1234, 2222)
		f.Attempts = append(f.Attempts, a)
	}
	var text strings.Builder
	if err := knowing().Text(&text, f); err != nil {
		t.Fatal(err)
	}
	_, waterfall, _ := strings.Cut(text.String(), "\nAttempts\n")
	waterfall, _, _ = strings.Cut(waterfall, "\n\n")
	for line := range strings.Lines(waterfall) {
		if length := len([]rune(strings.TrimSuffix(line, "\n"))); length > 100 {
			t.Errorf("%d columns: %s", length, line)
		}
	}
	for _, want := range []string{
		"Usual reasons\n  - it has crashed\n", "  - in Caddy: Correct the port of connection_refused.\n\n      reverse_proxy app:8080 {\n          lb_try_duration 10s\n      }\n",
		"1  app:8080, connection_refused\n      [Cw.  ", "\n       |0             |20 s           |40 s          |1m\n", "last failure k3f9qw2ay: Summary of k3f9qw2ay.",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	order := []string{f.Summary, "\nWhat to do\n", "\nUsual reasons\n", "\nEvidence\n", "\nAttempts\n", "\nNot available\n", "\nRequest\n", "\nRecord\n"}
	at := -1
	for _, part := range order {
		next := strings.Index(text.String(), part)
		if next <= at {
			t.Errorf("%q is not behind what comes before it", part)
		}
		at = next
	}
}

// However much a record holds, and whatever names are in it, the fragment has a bound.
func TestFragmentSize(t *testing.T) {
	f := whole()
	f.Attempts = nil
	long := strings.Repeat("שלום-", 60)
	for range failure.MaxAttempts {
		a := whole().Attempts[0]
		a.Upstream = long
		for _, phase := range []**failure.Milliseconds{&a.PhasesMS.DNS, &a.PhasesMS.Connect, &a.PhasesMS.TLS, &a.PhasesMS.Headers, &a.PhasesMS.Body} {
			*phase = pointer(failure.Milliseconds(1))
		}
		f.Attempts = append(f.Attempts, a)
	}
	drawn, err := knowing().HTML(f)
	if err != nil || len(drawn) > 64<<10 {
		t.Errorf("%v: %d bytes", err, len(drawn))
	}
	for _, name := range all(parsed(t, knowing(), f), "bdi", "") {
		if textOf(name) == long {
			return
		}
	}
	t.Error("a name from right to left isn't isolated")
}
