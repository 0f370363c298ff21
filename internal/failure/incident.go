package failure

import "time"

// IncidentState says whether something is still wrong.
type IncidentState string

// States of an incident.
const (
	IncidentOpen     IncidentState = "open"
	IncidentResolved IncidentState = "resolved"
)

// IncidentStates are all of them.
var IncidentStates = []IncidentState{IncidentOpen, IncidentResolved}

// How long it takes until an incident is over.
const (
	// IncidentCalm is how long an upstream that answers again must not have failed so.
	IncidentCalm = 30 * time.Second
	// IncidentSilence ends one of which nobody hears any more, good or bad.
	IncidentSilence = time.Hour
)

// HistoryMinutes is how many minutes an incident's history has.
const HistoryMinutes = 60

// MaxSamples is how many failures an incident names: the first half and the last.
const MaxSamples = 6

// Incident is what goes wrong in one way: the failures of one fingerprint, which is its
// site, upstream and cause, from the first one until its upstream has answered again.
type Incident struct {
	// ID is the fingerprint's, the same on every machine.
	ID         string `json:"id"`
	Site       string `json:"site"`
	Upstream   string `json:"upstream,omitempty"`
	Cause      string `json:"cause"`
	ProxyError string `json:"proxy_error,omitempty"`
	Phase      Phase  `json:"phase,omitempty"`
	Side       Side   `json:"side,omitempty"`
	// Summary and Advice are those of its last failure.
	Summary string        `json:"summary"`
	Advice  string        `json:"advice,omitempty"`
	State   IncidentState `json:"state"`
	// Count is how many requests met it, Outcomes how these ended: one that another
	// upstream then served was rescued.
	Count    uint64             `json:"count"`
	Outcomes map[Outcome]uint64 `json:"outcomes"`
	// FirstSeen is its first failure, LastSeen its last one until now. DurationS is the
	// time between the two, in seconds.
	FirstSeen Timestamp `json:"first_seen"`
	LastSeen  Timestamp `json:"last_seen"`
	DurationS float64   `json:"duration_s"`
	// ResolvedAt is when it was found to be over, ResolvedBy by what; both are left out
	// while it is open.
	ResolvedAt *Timestamp `json:"resolved_at,omitempty"`
	ResolvedBy Resolution `json:"resolved_by,omitempty"`
	// ReopenedCount is how often it failed again within ten minutes after that.
	ReopenedCount int `json:"reopened_count"`
	// PerMinute is how many requests met it in each of the last 60 minutes, newest last.
	PerMinute [HistoryMinutes]uint32 `json:"per_minute"`
	// Samples are ids of failures: the first three and the last three. They may have given
	// way to newer ones.
	Samples []string `json:"samples"`
	// Changes are what was different when it began, and what is about the requests that it
	// meets.
	Changes []Change `json:"changes"`
	// Probes are the last that its upstream was asked by, newest last.
	Probes []Probe `json:"probes"`
}

// Resolution is by what an incident was found to be over.
type Resolution string

// What ends an incident.
const (
	// ResolvedByAnswer: its upstream has answered again, and did not fail so for a while.
	ResolvedByAnswer Resolution = "answered"
	// ResolvedByConfig: no config that runs names its upstream any more.
	ResolvedByConfig Resolution = "left_config"
	// ResolvedBySilence: it was not seen for an hour.
	ResolvedBySilence Resolution = "silence"
)

// Words is what ended an incident as people read it.
func (r Resolution) Words() string {
	switch r {
	case ResolvedByAnswer:
		return "its upstream has answered again"
	case ResolvedByConfig:
		return "no config names its upstream any more"
	case ResolvedBySilence:
		return "it was not seen for an hour"
	}
	return string(r)
}
