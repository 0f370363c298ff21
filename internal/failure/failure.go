// Package failure holds what is known of a request that an upstream failed:
// plain data, complete when it is made and never changed afterwards. Its JSON is
// what users see, so a name here may be added, never renamed.
package failure

import (
	"encoding/json"
	"time"
)

// Failure is the record of one request. Everything that anyone is shown of it is
// derived from this: the log, the page, the admin endpoint, the placeholders.
//
// What isn't known is left out, never 0: so what can be 0 and known is a pointer.
type Failure struct {
	// ID is the reference that the visitor is shown. It is Caddy's err_id where
	// Caddy's reverse proxy returned an error.
	ID       string    `json:"id"`
	Time     Timestamp `json:"time"`
	Instance string    `json:"instance,omitempty"`
	// Site is the label of the handler that recorded it.
	Site    string  `json:"site"`
	Outcome Outcome `json:"outcome"`
	// Status is what the client got; where the error is passed on, the error's.
	Status int `json:"status,omitempty"`
	// Upstream is what is configured, placeholders unexpanded; left out where
	// none was selected.
	Upstream   string   `json:"upstream,omitempty"`
	Cause      string   `json:"cause"`
	Category   Category `json:"category"`
	ProxyError string   `json:"proxy_error,omitempty"`
	Phase      Phase    `json:"phase,omitempty"`
	Side       Side     `json:"side,omitempty"`
	Summary    string   `json:"summary"`
	Advice     string   `json:"advice,omitempty"`
	Evidence   []string `json:"evidence"`
	Error      string   `json:"error,omitempty"`
	Limit      *Limit   `json:"limit,omitempty"`
	// RequestSent is left out where nothing was to be sent.
	RequestSent Sent `json:"request_sent,omitempty"`
	// AttemptCount counts all attempts, of which Attempts keeps the first and
	// the last (see MaxAttempts).
	AttemptCount int           `json:"attempt_count"`
	Attempts     []Attempt     `json:"attempts"`
	Unavailable  []Unavailable `json:"unavailable,omitempty"`
	Received     *Received     `json:"received,omitempty"`
	Request      Request       `json:"request"`
	DurationMS   Milliseconds  `json:"duration_ms"`
	// Incident is the fingerprint of (site, upstream, cause); left out for
	// abandoned requests and side client.
	Incident string `json:"incident,omitempty"`
	TraceID  string `json:"trace_id,omitempty"`
}

// CertificateNames begins the line of the evidence that lists the names which an upstream's
// certificate is for.
const CertificateNames = "names in the certificate: "

// MaxAttempts is how many attempts a record keeps: the first half and the last.
const MaxAttempts = 16

// AttemptNumber is which of all attempts Attempts[n] is, from 1.
func (f *Failure) AttemptNumber(n int) int {
	if n < MaxAttempts/2 {
		return n + 1
	}
	return n + 1 + max(f.AttemptCount-len(f.Attempts), 0)
}

// Attempt is one try at one upstream. One that worked has no cause.
type Attempt struct {
	Upstream string `json:"upstream,omitempty"`
	// Role says whose attempt it was, where it isn't that of the reverse_proxy which the
	// record is about, or asked before the request was passed on.
	Role AttemptRole `json:"role,omitempty"`
	// Address is the address that was dialled, or that the reused connection
	// leads to.
	Address      string `json:"address,omitempty"`
	LocalAddress string `json:"local_address,omitempty"`
	// Protocol is http/1.1, h2, h2c, h3 or fastcgi.
	Protocol string `json:"protocol,omitempty"`
	Reused   *bool  `json:"reused,omitempty"`
	// IdleMS is how long the reused connection had been idle.
	IdleMS     *Milliseconds `json:"idle_ms,omitempty"`
	StartMS    Milliseconds  `json:"start_ms"`
	DurationMS Milliseconds  `json:"duration_ms"`
	PhasesMS   Phases        `json:"phases_ms,omitzero"`
	Cause      string        `json:"cause,omitempty"`
	// Incident is the one that it belongs to; left out where it opens none.
	Incident string `json:"incident,omitempty"`
	Error    string `json:"error,omitempty"`
	Errno    string `json:"errno,omitempty"`
	TLSAlert *uint8 `json:"tls_alert,omitempty"`
	Status   int    `json:"status,omitempty"`
	// RequestBytes are those of the request's body that the transport read.
	RequestBytes          *int64 `json:"request_bytes,omitempty"`
	ResponseBytes         *int64 `json:"response_bytes,omitempty"`
	ResponseBytesExpected *int64 `json:"response_bytes_expected,omitempty"`
}

// AttemptRole says whose an attempt was: a request may pass several reverse_proxy handlers.
type AttemptRole string

// The roles.
const (
	// RoleAsksFirst: it asked about the request before it was passed on, as forward_auth does.
	RoleAsksFirst AttemptRole = "asks_first"
	// RoleOtherProxy: another reverse_proxy made it than the one that the record is about, as
	// one whose handle_response goes on to the next.
	RoleOtherProxy AttemptRole = "other_proxy"
)

// Words is the role as people read it.
func (r AttemptRole) Words() string {
	switch r {
	case RoleAsksFirst:
		return "asked before the request was passed on (forward_auth)"
	case RoleOtherProxy:
		return "of another reverse_proxy of this request (whose handle_response went on)"
	}
	return string(r)
}

// Phases is how long an attempt spent in each phase that it reached.
type Phases struct {
	DNS     *Milliseconds `json:"dns,omitempty"`
	Connect *Milliseconds `json:"connect,omitempty"`
	TLS     *Milliseconds `json:"tls,omitempty"`
	Send    *Milliseconds `json:"send,omitempty"`
	Wait    *Milliseconds `json:"wait,omitempty"`
	Headers *Milliseconds `json:"headers,omitempty"`
	Body    *Milliseconds `json:"body,omitempty"`
}

// Limit is the directive that ended a request, or that was missing.
type Limit struct {
	// Name is the Caddyfile's word, dial_timeout.
	Name    string        `json:"name"`
	ValueMS *Milliseconds `json:"value_ms,omitempty"`
	// ValueBytes is that of a limit which is no time; 0 where it is not set.
	ValueBytes int64       `json:"value_bytes,omitempty"`
	Source     LimitSource `json:"source"`
}

// LimitSource says where a limit comes from.
type LimitSource string

// A limit is configured, Caddy's default, or absent: no limit is set.
const (
	LimitConfigured LimitSource = "configured"
	LimitDefault    LimitSource = "default"
	LimitAbsent     LimitSource = "absent"
)

// Unavailable is an upstream that could not be selected, and why.
type Unavailable struct {
	Upstream string `json:"upstream"`
	// Reason is left out where it is available by now.
	Reason Reason `json:"reason,omitempty"`
	// Until is when the failure that counts is forgotten, where it was seen.
	Until *Timestamp `json:"until,omitempty"`
	// LastFailure is the id of the last failure recorded for it.
	LastFailure string `json:"last_failure,omitempty"`
	// LastCause is why it failed then.
	LastCause string `json:"last_cause,omitempty"`
	// Check is what its active check asked and got when it was last repeated.
	Check string `json:"check,omitempty"`
}

// MaxUnavailable is how many upstreams a record lists that could not be selected.
const MaxUnavailable = 16

// Reason says why an upstream could not be selected.
type Reason string

// The reasons, as reverse_proxy knows them.
const (
	ReasonFails       Reason = "fails"        // max_fails reached
	ReasonUnhealthy   Reason = "unhealthy"    // failing its active health check
	ReasonCircuitOpen Reason = "circuit_open" // its circuit breaker is open
	ReasonFull        Reason = "full"         // unhealthy_request_count reached
)

// Words is the reason as people read it.
func (r Reason) Words() string {
	switch r {
	case ReasonFails:
		return "failed too often (max_fails)"
	case ReasonUnhealthy:
		return "fails its active health check"
	case ReasonCircuitOpen:
		return "its circuit breaker is open"
	case ReasonFull:
		return "full (unhealthy_request_count)"
	}
	return "available by now, or refused by the selection policy"
}

// Received is what an upstream's own answer said.
type Received struct {
	Status      int    `json:"status"`
	Server      string `json:"server,omitempty"`
	Via         string `json:"via,omitempty"`
	RetryAfter  string `json:"retry_after,omitempty"`
	ProxyStatus string `json:"proxy_status,omitempty"`
	GRPCStatus  string `json:"grpc_status,omitempty"`
	GRPCMessage string `json:"grpc_message,omitempty"`
}

// Request is what is kept of the client's request: redacted and bounded.
type Request struct {
	Method   string              `json:"method"`
	Host     string              `json:"host"`
	URI      string              `json:"uri"`
	Proto    string              `json:"proto"`
	RemoteIP string              `json:"remote_ip,omitempty"`
	ClientIP string              `json:"client_ip,omitempty"`
	Headers  map[string][]string `json:"headers,omitempty"`
}

// Outcome is how the request ended.
type Outcome string

// The outcomes.
const (
	Failed           Outcome = "failed"            // the client got our answer or the error
	Rescued          Outcome = "rescued"           // a later attempt succeeded
	Truncated        Outcome = "truncated"         // headers were sent, the body broke
	Abandoned        Outcome = "abandoned"         // the client left while we waited
	UpstreamAnswered Outcome = "upstream_answered" // the upstream itself answered 502, 503, 504 …
)

// AbandonedAfter is how long a client must have waited for its leaving to be recorded:
// whoever leaves earlier says nothing of the upstream. Tests don't wait; they change it
// before a config is loaded, because requests outlive their test.
var AbandonedAfter = time.Second

// Outcomes lists all outcomes, in the order in which they are counted and shown.
var Outcomes = []Outcome{Failed, Rescued, Truncated, Abandoned, UpstreamAnswered}

// Phase is how far an attempt came.
type Phase string

// The phases, in their order.
const (
	PhaseSelect  Phase = "select"
	PhaseDNS     Phase = "dns"
	PhaseConnect Phase = "connect"
	PhaseTLS     Phase = "tls"
	PhaseSend    Phase = "send"
	PhaseWait    Phase = "wait"
	PhaseHeaders Phase = "headers"
	PhaseBody    Phase = "body"
)

// PhaseOrder lists the phases in their order.
var PhaseOrder = []Phase{PhaseSelect, PhaseDNS, PhaseConnect, PhaseTLS, PhaseSend, PhaseWait, PhaseHeaders, PhaseBody}

// Side is who has to act.
type Side string

// The sides.
const (
	SideClient   Side = "client"
	SideProxy    Side = "proxy"
	SideNetwork  Side = "network"
	SideUpstream Side = "upstream"
)

// Sides lists all sides.
var Sides = []Side{SideClient, SideProxy, SideNetwork, SideUpstream}

// Sent says whether the request reached the upstream: whether trying again is safe.
type Sent string

// No: no byte of it left, or the peer said that it wasn't processed. Maybe: bytes
// left, nothing came. Yes: a byte of an answer came.
const (
	SentNo    Sent = "no"
	SentMaybe Sent = "maybe"
	SentYes   Sent = "yes"
)

// Timestamp is a time in UTC with milliseconds, RFC 3339.
type Timestamp struct{ time.Time }

// TimestampLayout is how a Timestamp is written.
const TimestampLayout = "2006-01-02T15:04:05.000Z"

// At makes a Timestamp of t.
func At(t time.Time) Timestamp { return Timestamp{t.UTC().Truncate(time.Millisecond)} }

// String is the time as the JSON has it.
func (t Timestamp) String() string { return t.UTC().Format(TimestampLayout) }

// MarshalJSON implements json.Marshaler.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	var parsed time.Time
	if err := json.Unmarshal(b, &parsed); err != nil {
		return err
	}
	*t = At(parsed)
	return nil
}

// Milliseconds is a duration as the JSON has it, to the microsecond.
type Milliseconds float64

// MS converts d.
func MS(d time.Duration) Milliseconds {
	return Milliseconds(float64(d.Round(time.Microsecond)) / float64(time.Millisecond))
}

// MSPointer converts d, for a field that is left out where it isn't known.
func MSPointer(d time.Duration) *Milliseconds { ms := MS(d); return &ms }

// Duration converts back.
func (ms Milliseconds) Duration() time.Duration {
	return time.Duration(float64(ms) * float64(time.Millisecond))
}
