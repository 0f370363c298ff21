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
	// UsualReasons are why it mostly happens, the most frequent first.
	UsualReasons []string `json:"usual_reasons"`
	Fix          Fix      `json:"fix"`
	// Rivals are the causes that look alike, and what rules each out; empty where
	// nothing else looks like it.
	Rivals []Rival `json:"rivals"`
}

// Fix is how to end a cause, at each of the places where that may be possible.
type Fix struct {
	Caddy string `json:"caddy"`
	// Caddyfile shows it: what stands in a site's block, or a block of global
	// options; "" where no directive helps.
	Caddyfile   string `json:"caddyfile,omitempty"`
	Docker      string `json:"docker"`
	Application string `json:"application"`
}

// Rival is a cause that looks like another.
type Rival struct {
	// Cause is a row's name, or a plain word for what has no row.
	Cause string `json:"cause"`
	// RuledOutBy is the evidence that tells them apart, or the plain word that
	// nothing can.
	RuledOutBy string `json:"ruled_out_by"`
}
