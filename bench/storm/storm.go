package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sites are five that fail all the time, and a rare one.
var sites = [...]string{"storm-1", "storm-2", "storm-3", "storm-4", "storm-5", "rare"}

const rare = len(sites) - 1

// storm is what is to be done.
type storm struct {
	// rate is how many failures a second there are at most, most how many in all, lasts how
	// long they go on at most.
	rate, most int
	lasts      time.Duration
	// out says that the upstreams of the five are out after their first failure.
	out         bool
	connections int
	// rareEvery is how often the rare one fails, mostRare how often at most.
	rareEvery time.Duration
	mostRare  int
	// readEvery is how often somebody reads, measureEvery how often the memory is measured.
	readEvery, measureEvery time.Duration
}

// found is what came of it.
type found struct {
	storm storm
	took  time.Duration
	cpu   time.Duration // of Caddy, in all
	// counted is what the clients counted of each site, rareIDs are the failures' ids
	// that the rare one's client got.
	counted []int
	rareIDs []string

	// incidents, records, exported are what is said of each site: its incidents' counts,
	// the records that are kept, and the metric; exported is nil where there is none.
	incidents, records, exported []int
	rareRecords                  []string
	failed, dropped              int
	keep                         int

	reads  map[string][]time.Duration
	memory []memory
}

// The reads whose time is taken.
const (
	readFailures  = "/failures?limit=1000"
	readIncidents = "/incidents"
)

const (
	api         = "/upstream_diagnostics"
	metric      = "caddy_upstream_failures_total"
	notExported = "is not exported"
)

// run does it.
func (s storm) run(ctx context.Context) (f *found, err error) {
	config, err := s.sites()
	if err != nil {
		return nil, err
	}
	c, err := startCaddy(ctx, config)
	if err != nil {
		return nil, err
	}
	f = &found{storm: s, reads: make(map[string][]time.Duration)}
	if err = s.rage(ctx, c, f); err == nil {
		err = f.ask(ctx, c)
	}
	if err = errors.Join(err, c.stop()); err != nil {
		return nil, err
	}
	f.cpu = c.process.ProcessState.UserTime() + c.process.ProcessState.SystemTime()
	return f, nil
}

// sites are the sites of the Caddyfile.
func (s storm) sites() (string, error) {
	upstreams, err := refusing(len(sites))
	if err != nil {
		return "", err
	}
	var config strings.Builder
	for n, site := range sites {
		options := ""
		if s.out && n != rare {
			options = "fail_duration 1h\n"
		}
		fmt.Fprintf(&config, "handle /%s {\nupstream_diagnostics {\nsite %s\n}\nreverse_proxy %s {\n%s}\n}\n", site, site, upstreams[n], options)
	}
	return config.String(), nil
}

// rage lets the clients fail while the API is read.
func (s storm) rage(ctx context.Context, c *caddy, f *found) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// All are cancelled where one can't go on: what an answer that never came was can't be
	// known, so that nothing could agree.
	try := func(what string, do func() error) {
		if err := do(); err != nil {
			cancel(fmt.Errorf("%s: %w", what, err))
		}
	}
	start := time.Now()
	end := start.Add(s.lasts)
	var counted [len(sites)]atomic.Int64
	var sent atomic.Int64
	var clients, watchers sync.WaitGroup
	for range s.connections {
		clients.Go(func() {
			try("a client", func() error { return s.fail(ctx, c, start, end, &sent, counted[:rare]) })
		})
	}
	clients.Go(func() {
		try("the rare one's client", func() error { return s.failRarely(ctx, c, f, start, end, &counted[rare]) })
	})

	over := make(chan struct{})
	watchers.Go(func() { try("reading", func() error { return f.read(ctx, c, over) }) })
	watchers.Go(func() { try("measuring", func() error { return f.measure(ctx, c, over) }) })
	clients.Wait()
	f.took = time.Since(start)
	close(over)
	watchers.Wait()
	for i := range counted {
		f.counted = append(f.counted, int(counted[i].Load()))
	}
	return context.Cause(ctx)
}

// fail is one client of the storm. All take their turns from one schedule, so that none
// waits for another.
func (s storm) fail(ctx context.Context, c *caddy, start, end time.Time, sent *atomic.Int64, counted []atomic.Int64) error {
	asking, err := dial(c.address)
	if err != nil {
		return err
	}
	defer asking.conn.Close()
	var requests [rare][]byte
	for n := range requests {
		requests[n] = request(sites[n])
	}
	for ctx.Err() == nil {
		turn := int(sent.Add(1)) - 1
		due := start.Add(time.Duration(turn) * time.Second / time.Duration(s.rate))
		if turn >= s.most || due.After(end) || time.Now().After(end) {
			return nil
		}
		if wait := time.Until(due); wait > 0 && !sleep(ctx, nil, wait) {
			return nil
		}
		if err := asking.fail(requests[turn%rare]); err != nil {
			return err
		}
		counted[turn%rare].Add(1)
	}
	return nil
}

// failRarely is the client of the rare one.
func (s storm) failRarely(ctx context.Context, c *caddy, f *found, start, end time.Time, counted *atomic.Int64) error {
	asking, err := dial(c.address)
	if err != nil {
		return err
	}
	defer asking.conn.Close()
	for turn := range s.mostRare {
		due := start.Add(time.Duration(turn) * s.rareEvery)
		if due.After(end) || !sleep(ctx, nil, time.Until(due)) {
			return nil
		}
		if err := asking.fail(request(sites[rare])); err != nil {
			return err
		}
		counted.Add(1)
		f.rareIDs = append(f.rareIDs, string(asking.id))
	}
	return nil
}

// sleep says whether it wasn't woken.
func sleep(ctx context.Context, over <-chan struct{}, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-over:
		return false
	case <-time.After(d):
		return true
	}
}

// read reads what an operator would, again and again, until it is over: once at least.
func (f *found) read(ctx context.Context, c *caddy, over <-chan struct{}) error {
	for {
		next := time.Now().Add(f.storm.readEvery)
		for _, path := range []string{readFailures, readIncidents} {
			asked := time.Now()
			if _, err := c.get(ctx, api+path); err != nil {
				return err
			}
			f.reads[path] = append(f.reads[path], time.Since(asked))
		}
		if !sleep(ctx, over, time.Until(next)) {
			return nil
		}
	}
}

// measure measures the memory again and again until it is over: once at least.
func (f *found) measure(ctx context.Context, c *caddy, over <-chan struct{}) error {
	for {
		m, err := c.memory(ctx)
		if err != nil {
			return err
		}
		f.memory = append(f.memory, m)
		if !sleep(ctx, over, f.storm.measureEvery) {
			return nil
		}
	}
}

// ask asks for everything that is to agree.
func (f *found) ask(ctx context.Context, c *caddy) error {
	var overview struct {
		Counts  map[string]int `json:"counts"`
		Dropped int            `json:"dropped"`
		Keep    int            `json:"keep"`
	}
	if err := c.getJSON(ctx, api, &overview); err != nil {
		return err
	}
	for _, count := range overview.Counts {
		f.failed += count
	}
	f.dropped, f.keep = overview.Dropped, overview.Keep

	metrics, err := c.get(ctx, "/metrics")
	if err != nil {
		return err
	}
	exported, err := sumOf(string(metrics), metric)
	if err != nil {
		return err
	}
	for n, site := range sites {
		var incidents struct {
			Incidents []struct {
				Count int `json:"count"`
			} `json:"incidents"`
		}
		if err := c.getJSON(ctx, api+"/incidents?site="+site, &incidents); err != nil {
			return err
		}
		count := 0
		for _, incident := range incidents.Incidents {
			count += incident.Count
		}
		f.incidents = append(f.incidents, count)
		var page struct {
			Failures []struct {
				ID string `json:"id"`
			} `json:"failures"`
		}
		if err := c.getJSON(ctx, api+"/failures?limit=1000&site="+site, &page); err != nil {
			return err
		}
		f.records = append(f.records, len(page.Failures))
		if n == rare {
			for _, record := range slices.Backward(page.Failures) {
				f.rareRecords = append(f.rareRecords, record.ID)
			}
		}
		if exported != nil {
			f.exported = append(f.exported, exported[site])
		}
	}
	return nil
}

// sumOf sums up a metric by its label site, in the text that Prometheus reads; nil
// where it isn't there.
func sumOf(metrics, name string) (bySite map[string]int, err error) {
	label := regexp.MustCompile(`[{,]site="([^"]*)"`)
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		labels, value, _ := strings.Cut(line, "} ")
		site := label.FindStringSubmatch(labels)
		number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if site == nil || err != nil {
			return nil, fmt.Errorf("the metric %q has no site or no number", line)
		}
		if bySite == nil {
			bySite = make(map[string]int)
		}
		bySite[site[1]] += int(number)
	}
	return bySite, nil
}

// kinds is of how many fingerprints there are records: an upstream that is out has failed
// in another way before.
func (f *found) kinds() int {
	if f.storm.out {
		return 2*rare + 1
	}
	return len(sites)
}

// disagreements says what isn't as the clients counted it.
func (f *found) disagreements() (wrong []string) {
	differ := func(site, what string, got, want int) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s: the clients counted %d, %s %d", site, want, what, got))
		}
	}
	total := 0
	for n, site := range sites {
		total += f.counted[n]
		differ(site, "its incidents", f.incidents[n], f.counted[n])
		if f.exported != nil {
			differ(site, metric, f.exported[n], f.counted[n])
		}
	}
	differ("all", "the overview", f.failed, total)
	if f.exported == nil {
		wrong = append(wrong, metric+" "+notExported)
	}
	if f.dropped > 0 {
		wrong = append(wrong, fmt.Sprintf("%d failures were of no incident", f.dropped))
	}
	// The rare one's are all there, unless they are more than a share can be: then its newest.
	want := f.rareIDs[max(0, len(f.rareIDs)-f.keep/f.kinds()):]
	if got := f.rareRecords[max(0, len(f.rareRecords)-len(want)):]; !slices.Equal(got, want) {
		wrong = append(wrong, fmt.Sprintf("of the rare one %q are kept, want %q", f.rareRecords, f.rareIDs))
	}
	return wrong
}
