package diagnostics

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const (
	// maxLabels is how many sites and how many upstreams have a label of their own, each of
	// at most maxLabelBytes.
	maxLabels = 100
	// otherLabel stands for all that have none.
	otherLabel = "_other"
	// exemplarInterval is how often a series takes another exemplar: nobody sees more of
	// them, and one costs more than the counting.
	exemplarInterval = time.Second
)

// durationBuckets are those of an incident's duration, in seconds: up to a day.
var durationBuckets = []float64{1, 5, 15, 30, 60, 5 * 60, 15 * 60, 30 * 60, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}

// metrics are what is counted for Caddy's /metrics. They are the process's: Caddy makes a
// registry for each config, in which the same ones are registered, so that a reload keeps
// what was counted.
type metrics struct {
	sites, upstreams labels

	failures, attempts *prometheus.CounterVec
	durations          *prometheus.HistogramVec
	// counters are those of failures and attempts that counted last.
	counters struct{ failures, attempts knownCounters }
	// exemplified has when each of failures took its exemplar, in Unix nanoseconds.
	exemplified sync.Map
	// faults counts the records that a fault of ours has cost.
	faults atomic.Uint64
}

func newMetrics() *metrics {
	return &metrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_upstream_failures_total",
			Help: "Requests that an upstream failed, by how they ended.",
		}, []string{"site", "upstream", "cause", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_upstream_attempt_failures_total",
			Help: "Failed attempts at an upstream, also those of requests that another attempt served.",
		}, []string{"site", "upstream", "cause"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "caddy_upstream_incident_duration_seconds",
			Help:    "Time from the failure with which an incident opened, or opened again, to its last one, observed each time that it is resolved.",
			Buckets: durationBuckets,
		}, []string{"cause"}),
	}
}

// counted are those that count by themselves.
func (m *metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.failures, m.attempts, m.durations}
}

// lookedUp are the metrics that are looked up in the process when somebody asks.
var lookedUp = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// values gives each value with its labels.
	values func(p *process, give func(value float64, labels ...string))
}{
	{
		prometheus.NewDesc("caddy_upstream_incidents_open", "Incidents that are open; 0 while a resolved one is remembered.",
			[]string{"site", "upstream", "cause"}, nil), prometheus.GaugeValue, (*process).incidentsOpen,
	},
	{
		prometheus.NewDesc("caddy_upstream_certificate_expiry_timestamp_seconds", "When the certificate ends that an upstream showed last; of several the one that ends first.",
			[]string{"upstream"}, nil), prometheus.GaugeValue, (*process).certificatesEnd,
	},
	{
		prometheus.NewDesc("caddy_upstream_near_misses_total", "What nearly went wrong, by kind; without an upstream where it is this process's.",
			[]string{"upstream", "kind"}, nil), prometheus.CounterValue, (*process).nearMisses,
	},
	{
		prometheus.NewDesc("caddy_upstream_diagnostics_dropped_total", "What could not be recorded or told: beyond what is kept, or by a fault of this module.",
			[]string{"reason"}, nil), prometheus.CounterValue, (*process).droppedByReason,
	},
}

func (p *process) incidentsOpen(give func(value float64, labels ...string)) {
	open := make(map[[3]string]float64)
	for _, i := range p.incidents.List(time.Now()) {
		of := [3]string{p.metrics.sites.of(i.Site), p.metrics.upstreams.of(i.Upstream), i.Cause}
		if open[of] += 0; i.State == failure.IncidentOpen {
			open[of]++
		}
	}
	for of, count := range open {
		give(count, of[:]...)
	}
}

// certificatesEnd gives the earliest of those that share a label.
func (p *process) certificatesEnd(give func(value float64, labels ...string)) {
	ends := make(map[string]time.Time)
	for upstream, at := range p.certificateEnds() {
		label := p.metrics.upstreams.of(upstream)
		if known, ok := ends[label]; !ok || at.Before(known) {
			ends[label] = at
		}
	}
	for label, at := range ends {
		give(float64(at.Unix()), label)
	}
}

func (p *process) nearMisses(give func(value float64, labels ...string)) {
	counts := make(map[[2]string]float64)
	for of, count := range p.warnings.Counts() {
		counts[[2]string{p.metrics.upstreams.of(of.Upstream), string(of.Kind)}] += float64(count)
	}
	for of, count := range counts {
		give(count, of[:]...)
	}
}

func (p *process) droppedByReason(give func(value float64, labels ...string)) {
	_, incidents := p.incidents.Counts()
	give(float64(incidents), "too_many_incidents")
	_, warnings := p.warnings.Kept()
	give(float64(warnings), "too_many_warnings")
	give(float64(p.droppedEvents()), "too_many_events")
	give(float64(p.metrics.faults.Load()), "fault")
}

// collector is the process's metrics in one config's registry.
type collector struct {
	process *process
	logger  *zap.Logger
}

// register makes the metrics known to a config, once for all that ask for it there.
func (p *process) register(ctx caddy.Context, logger *zap.Logger) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil { // a context that Caddy didn't make
		return nil
	}
	err := registry.Register(collector{p, logger})
	if _, already := errors.AsType[prometheus.AlreadyRegisteredError](err); err == nil || already {
		return nil
	}
	return fmt.Errorf("registering metrics: %w", err)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, counted := range c.process.metrics.counted() {
		counted.Describe(descs)
	}
	for _, metric := range lookedUp {
		descs <- metric.desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(values chan<- prometheus.Metric) {
	if !c.process.attended.Load() { // nobody else looks what is over
		c.process.resolveIncidents(c.logger, time.Now())
	}
	for _, counted := range c.process.metrics.counted() {
		counted.Collect(values)
	}
	for _, metric := range lookedUp {
		metric.values(c.process, func(value float64, labels ...string) {
			m, err := prometheus.NewConstMetric(metric.desc, metric.kind, value, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(metric.desc, err)
			}
			values <- m
		})
	}
}

// causeLabels has the catalogue's own names: a record's would keep all of it in memory.
var causeLabels = func() map[string]string {
	names := make(map[string]string)
	for row := range cause.Rows() {
		names[row.Name] = row.Name
	}
	return names
}()

// count counts a failure, and each of its failed attempts for that one's own upstream.
func (p *process) count(f *failure.Failure) {
	m := p.metrics
	counter := m.counters.failures.of(f.Incident, f.Outcome, func() prometheus.Counter {
		return m.failures.WithLabelValues(m.sites.of(f.Site), m.upstreams.of(f.Upstream), causeLabels[f.Cause], string(f.Outcome))
	})
	if f.TraceID != "" && m.takesExemplar(counter, f.Time.Time) {
		counter.(prometheus.ExemplarAdder).AddWithExemplar(1, prometheus.Labels{"trace_id": strings.Clone(f.TraceID)})
	} else {
		counter.Inc()
	}
	for n := range f.Attempts {
		if a := &f.Attempts[n]; a.Incident != "" {
			m.counters.attempts.of(a.Incident, "", func() prometheus.Counter {
				return m.attempts.WithLabelValues(m.sites.of(f.Site), m.upstreams.of(a.Upstream), causeLabels[a.Cause])
			}).Inc()
		}
	}
}

// knownCounters keeps the counters of the incidents that counted last: in a storm, the labels
// of the same ones would be looked up again and again. It is bounded, and nobody waits.
type knownCounters [32]atomic.Pointer[knownCounter]

type knownCounter struct {
	incident string
	outcome  failure.Outcome
	counter  prometheus.Counter
}

// of gives the counter of an incident, which has the same labels always; look finds it. What
// is of no incident is looked up each time.
func (k *knownCounters) of(incident string, outcome failure.Outcome, look func() prometheus.Counter) prometheus.Counter {
	if incident == "" {
		return look()
	}
	// The last letters of an id are of a hash, as all of them.
	place := &k[(int(incident[len(incident)-1])+len(outcome))%len(k)]
	if known := place.Load(); known != nil && known.incident == incident && known.outcome == outcome {
		return known.counter
	}
	counter := look()
	place.Store(&knownCounter{strings.Clone(incident), outcome, counter})
	return counter
}

// takesExemplar says whether it is time for another one.
func (m *metrics) takesExemplar(counter prometheus.Counter, now time.Time) bool {
	known, ok := m.exemplified.Load(counter)
	if !ok {
		known, _ = m.exemplified.LoadOrStore(counter, new(atomic.Int64))
	}
	at := known.(*atomic.Int64)
	before := at.Load()
	return (before == 0 || now.UnixNano()-before >= int64(exemplarInterval)) && at.CompareAndSwap(before, now.UnixNano())
}

// countOnly counts a failure of which nothing is recorded. Its labels are the config's words
// and the catalogue's, nothing of what the client sent.
func (h *Handler) countOnly(r *http.Request, f *failure.Failure) {
	h.process.journal.Count(f.Outcome)
	f.Site = h.siteOf(r)
	h.nameIncidents(f)
	h.process.count(f)
}

// labels give names their label. The zero value is ready; any number of goroutines may use
// it, and none waits for a name that has its label.
type labels struct {
	mu     sync.Mutex // is held to add one
	byName atomic.Pointer[map[string]string]
}

// of is the label of a name: clean and bounded, otherLabel where there are too many.
func (l *labels) of(name string) string {
	if name == "" {
		return ""
	}
	if known := l.byName.Load(); known != nil {
		if label, ok := (*known)[name]; ok {
			return label
		}
		if len(*known) >= maxLabels {
			return otherLabel
		}
	}
	return l.add(name)
}

func (l *labels) add(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := make(map[string]string)
	if known := l.byName.Load(); known != nil {
		if label, ok := (*known)[name]; ok { // another goroutine was faster
			return label
		}
		if len(*known) >= maxLabels {
			return otherLabel
		}
		maps.Copy(next, *known)
	}
	label := labelOf(name)
	next[strings.Clone(name)] = label
	l.byName.Store(&next)
	return label
}

// labelOf makes a label of a name.
func labelOf(name string) string {
	label := failure.Visible(name)
	if len(label) > maxLabelBytes {
		end := maxLabelBytes
		for !utf8.RuneStart(label[end]) {
			end--
		}
		label = label[:end]
	}
	return strings.Clone(label)
}
