package failure

// Change is what was different when an incident began, or is different about the requests
// that it meets, with the proof that this is more than chance.
type Change struct {
	Kind ChangeKind `json:"kind"`
	// Value is what Kind says: a method, a host, an address, a time.
	Value string `json:"value"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Shares are the requests that were compared; nil where none were.
	*Shares
	// BeganAfterS is how many seconds after Value, where that is a time, the incident began;
	// nil where it is none.
	BeganAfterS *float64 `json:"began_after_s,omitempty"`
	// Chance is the probability that it looked so, or more so, by chance alone; 0 where that
	// isn't the question. Of shares it is at most MaxChance, of times at most MaxTimeChance.
	Chance float64 `json:"chance,omitempty"`
}

// Shares are how many of the requests that failed had something, and how many of those that
// went well.
type Shares struct {
	FailedCount uint32 `json:"failed_count"`
	FailedOf    uint32 `json:"failed_of"`
	// Of those that went well a sample is counted.
	WellCount uint32 `json:"well_count"`
	WellOf    uint32 `json:"well_of"`
}

const (
	// MaxChance is that of shares (the one-sided test of Fisher): there are six of them, each
	// with several values, and they are looked at again and again.
	MaxChance = 0.001
	// MaxTimeChance is that of times, of which there are two in all.
	MaxTimeChance = 0.01
)

// ChangeKind says what has changed.
type ChangeKind string

const (
	// ChangeLastSuccess is when the upstream last answered well before the first failure.
	ChangeLastSuccess ChangeKind = "last_success"
	// ChangeConfig is when the config was loaded with which it began.
	ChangeConfig ChangeKind = "config"
	// ChangeMethod and ChangeHost are of the client's request, ChangeProtocol is its HTTP.
	ChangeMethod   ChangeKind = "method"
	ChangeHost     ChangeKind = "host"
	ChangeProtocol ChangeKind = "protocol"
	// ChangeConnection is whether the connection to the upstream was reused or fresh.
	ChangeConnection ChangeKind = "connection"
	// ChangeAddress is what was dialled for the upstream, compared with all that the same
	// reverse_proxy dialled.
	ChangeAddress ChangeKind = "address"
	// ChangeServer is the Server field of the upstream's answers.
	ChangeServer ChangeKind = "server"
)

// ChangeKinds are all of them.
var ChangeKinds = []ChangeKind{
	ChangeLastSuccess, ChangeConfig, ChangeMethod, ChangeHost, ChangeProtocol, ChangeConnection, ChangeAddress, ChangeServer,
}

// Values of ChangeConnection.
const (
	ConnectionReused = "reused"
	ConnectionFresh  = "fresh"
)
