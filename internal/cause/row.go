package cause

import "github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"

// Row is one cause of the catalogue: all that is ever said of it is read from here.
type Row struct {
	// Name is stable.
	Name     string           `json:"cause"`
	Category failure.Category `json:"category"`
	// ProxyError is RFC 9209's error type, "" where none fits.
	ProxyError string `json:"proxy_error,omitempty"`
	// Phase and Side are those of most failures of this cause; a diagnosis may
	// know better.
	Phase failure.Phase `json:"phase,omitempty"`
	Side  failure.Side  `json:"side,omitempty"`
	// Status is what the client gets instead of Caddy's status; 0 keeps Caddy's.
	Status int `json:"status,omitempty"`
	// Summary is one sentence, Advice one concrete line. Both may name
	// {upstream}, {address} and {limit}, as far as the failure knows them.
	Summary string `json:"summary"`
	Advice  string `json:"advice"`
	// Meaning is what has happened, in one to three sentences; RecognisedBy is what
	// proves it.
	Meaning      string `json:"meaning"`
	RecognisedBy string `json:"recognised_by"`
	// Witnesses are those that its rules hear, the deciding one first: the others bear
	// it out, or rule a rival out. None proves what is Unknown.
	Witnesses []Witness `json:"witnesses"`
	// Undecided is what can't be told from here, one line of evidence of its own, "" where
	// nothing is left open. A diagnosis that knows better has its own.
	Undecided string `json:"undecided,omitempty"`
	// UsualReasons are why it mostly happens, the most frequent first.
	UsualReasons []string `json:"usual_reasons"`
	Fix          Fix      `json:"fix"`
	// Rivals are the causes that look alike, and what rules each out; empty where
	// nothing else looks like it.
	Rivals []Rival `json:"rivals"`
}

// Witness is one of those that are heard of a failure.
type Witness string

const (
	WitnessError    Witness = "error"
	WitnessKernel   Witness = "kernel"
	WitnessReceived Witness = "received"
	WitnessAsked    Witness = "asked"
	WitnessPast     Witness = "past"
)

// WitnessWords are what people read of a witness: what it is called, and what it says.
type WitnessWords struct {
	Witness    Witness
	Name, Says string
}

// Witnesses are all that there are.
var Witnesses = []WitnessWords{
	{WitnessError, "the error", "what failed, who ended the connection (the upstream, Caddy or the client), and when"},
	{WitnessKernel, "the kernel", "an errno, TCP_INFO, sockets and their queues, routes and addresses, files, the clock"},
	{WitnessReceived, "what came", "word for word: first bytes, a status, a header, how much of a body, a frame's code, a TLS alert, a certificate"},
	{WitnessAsked, "what was asked", "the config, limits in force, requests in flight, server name and Host, forward proxy, protocol, health checks"},
	{WitnessPast, "the past", "what this upstream did before, what the connection had carried, an attempt before"},
}

// Words is what the witness is called, "" for none of them.
func (w Witness) Words() string {
	for _, words := range Witnesses {
		if words.Witness == w {
			return words.Name
		}
	}
	return ""
}

// Fix is how to end a cause, at each of the places where that may be possible.
type Fix struct {
	Caddy string `json:"caddy"`
	// Caddyfile shows it: what stands in a site's block, or a block of global
	// options; "" where no directive helps.
	Caddyfile string `json:"caddyfile,omitempty"`
	// CaddyfileAlone shows it where there is one upstream, "" where that makes no difference.
	CaddyfileAlone string `json:"caddyfile_alone,omitempty"`
	Docker         string `json:"docker"`
	Application    string `json:"application"`
}

// Rival is a cause that looks like another.
type Rival struct {
	// Cause is a row's name, or a plain word for what has no row.
	Cause string `json:"cause"`
	// RuledOutBy is the evidence that tells them apart, or the plain word that
	// nothing can.
	RuledOutBy string `json:"ruled_out_by"`
}
