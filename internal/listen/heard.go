package listen

import (
	"net/http"
	"slices"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// Heard is what a Listener heard, frozen: typed errors and facts, no judgement.
// It lives from the request's end until it has been diagnosed. In a test it is a
// literal.
type Heard struct {
	// Start is when the request came to us, Duration how long it took.
	Start    time.Time
	Duration time.Duration

	// Err is the very error that the next handler returned, ErrStatus the status
	// that it stands for; 0 for no error.
	Err       error
	ErrStatus int
	// Panicked says that a panic went up instead: the response broke off.
	Panicked bool

	// Looped says that the request came to the same handler again, proven by the
	// connection (see Serving).
	Looped bool

	// Patience is how long whoever asks waits at the most, where that is ourselves and no
	// client; 0 for a client, who may leave.
	Patience time.Duration

	Client    Client
	Response  Response
	Selection Selection

	// Attempts are the first and the last attempts, in order;
	// AttemptCount counts all.
	Attempts     []Attempt
	AttemptCount int

	// Elsewhere is how far the client's request came in attempts that are not in
	// Attempts: too many were made, or another listener heard them.
	Elsewhere Reach
}

// Reach is how far the client's request came in some attempts, at the most.
type Reach struct {
	// Left says that bytes of it may have left: a connection was had.
	Left bool
	// Answered says that a byte of an answer to it came.
	Answered bool
}

// add adds what an attempt did.
func (r *Reach) add(a *Attempt) {
	if !a.CarriesRequest() {
		return
	}
	answered := a.Status != 0 || a.FirstByte > 0
	r.Left = r.Left || answered || !a.unsent()
	// Where nobody knows whose attempt it was, it may have been a question.
	r.Answered = r.Answered || answered && a.Limits != nil
}

func (r *Reach) join(other Reach) {
	r.Left, r.Answered = r.Left || other.Left, r.Answered || other.Answered
}

// Unanswered says that no byte of an answer has been written to the client.
func (h *Heard) Unanswered() bool {
	return !h.Panicked && !h.Response.Hijacked && (h.Response.Status == 0 || h.Response.Intercepted)
}

// Client is what was heard on the client's side.
type Client struct {
	// Left says that the request's context had ended before we did.
	Left bool
	// Gone says that it had ended before an answer began, if one did.
	Gone bool
	// WriteErr is the first error of writing the response to the client.
	WriteErr error
	// BodyErr is the error that ended the reading of the request's body; BodyClosed says
	// that our side had closed it before.
	BodyErr    error
	BodyClosed bool
	// Limits are those of the server for reading it, nil where they aren't known.
	Limits *failure.Limits
	// Writing is how long the client was waited for, to take the answer. What is read from a
	// file straight into the connection isn't counted.
	Writing time.Duration
}

// Response is what was written to the client.
type Response struct {
	// Status is the final status that was written, 0 for none. Where the answer
	// was intercepted it is the one that was held back.
	Status int
	// Intercepted says that an upstream's own answer was held back, so that
	// another can be written: as the owner wished, or because it is Unpassable.
	Intercepted bool
	// Hijacked says that the connection was taken over (an upgrade).
	Hijacked bool
}

// Selection is what was heard before an upstream was chosen.
type Selection struct {
	// Limits are those of the reverse_proxy that selected last.
	Limits *failure.Limits
	// Rounds counts how often nobody could be chosen, At is when it last was so.
	Rounds int
	At     time.Duration
	// Pool is the pool in the last round in which nobody could be chosen.
	Pool []Candidate
	// Source is the dynamic source that was asked last, "" for a static pool.
	Source string
	// Resolvers are the name servers that the source asks; none where it asks the
	// system's.
	Resolvers []string
	// Within are the sources that the source of several asks, nil for others and where they
	// can't be told.
	Within []string
	// LookupErr is the error of the dynamic source's last lookup, nil if it worked.
	LookupErr error
}

// Candidate is an upstream that could not be chosen.
type Candidate struct {
	Upstream string
	// Reason is why; "" where it isn't known.
	Reason failure.Reason
	// Fails is how many failures count against it at this moment; Past is its past, nil
	// where that isn't known.
	Fails int
	Past  *Past
	// MaxRequests is how many requests at once it may have, where it has them; 0 for others.
	MaxRequests int
	// Check knows how its active check goes; nil where none does.
	Check *Check
}

// Attempt is one try at one upstream. A time is since the request's start; 0
// means that the attempt never came there.
type Attempt struct {
	// Upstream is the upstream as configured, with placeholders unexpanded.
	Upstream string
	// Limits are those of the handler that made the attempt; nil where no ear
	// could be put.
	Limits *failure.Limits
	// Network and Address are what was asked to be dialled ("tcp", "app:8080").
	// Both are empty where the transport was never asked.
	Network, Address string
	// Protocol is http/1.1, h2, h2c, h3 or fastcgi; "" where it isn't known.
	Protocol string

	// Exact says that an ear in the transport heard it, so that Err is the
	// transport's own error; else only the request's trace did.
	Exact bool
	// TLS says that TLS is spoken to this upstream.
	TLS bool
	// DialErr says that the transport called Err a dial error: no connection came
	// about.
	DialErr bool
	// Silent says that Go's transport tried again by itself, on another
	// connection, because this one died before the first byte.
	Silent bool

	// Asks says that it was sent by another method than the client's, and one that
	// changes nothing.
	Asks bool
	// FromEnvironment says that the process's environment names the forward proxy.
	FromEnvironment bool
	// ProxyUser says that the forward proxy's URL names a user, whom it is told.
	ProxyUser bool
	// handled says that the owner's own routes make something of the answer; wanting that
	// it may be one to how the upstream was asked.
	handled, wanting bool
	// Interim is the status of the last interim answer that came before the final one, 0
	// for none: where nothing of a final one came, FirstByte is 0. It is small to fill a
	// gap (see Listener).
	Interim int32

	// Request is the request as it went out, nil where it didn't: to be read only, and not
	// its body.
	Request *http.Request
	// ForwardProxy is the one by which it went, as scheme and address; "" where none is
	// known.
	ForwardProxy string
	// Past is that of the upstream, Before what it had done when the attempt ended; both
	// are nil where that isn't known.
	Past   *Past
	Before *Before

	// Start is when the upstream was selected, End when the attempt was over.
	Start, End time.Duration
	// Sent is when the transport was asked for the round trip.
	Sent time.Duration

	// Dialing is nil where no connection was dialled for this attempt.
	Dialing *Dialing
	// Connection is nil until the attempt got one.
	Connection *Connection

	// Wrote is when writing the request ended, with WriteErr if it failed.
	Wrote    time.Duration
	WriteErr error
	// FirstByte is when the first byte of an answer came, Answered when the
	// whole of its headers had.
	FirstByte, Answered time.Duration

	// Err is the round trip's exact error.
	Err error

	// Status is that of the answer, 0 for none (but see HasAnswer); Header its header.
	Status int
	Header http.Header
	// Server is the Server field of the answer as it came, "" for none; nil where there is no
	// answer, or the request is no sample.
	Server *string
	// Copied is the whole header of an answer of which the owner's routes copy fields
	// to the client's request; nil for all others.
	Copied http.Header
	// Body is what became of the answer's body.
	Body Body
	// RequestBytes are those of the request's body that the transport read;
	// -1 where it had no body. RequestErr is what ended that reading, io.EOF for the end;
	// nil where the transport stopped before.
	RequestBytes int64
	RequestErr   error
	// Uploading is how long the client was waited for meanwhile, to send its body.
	Uploading time.Duration
}

// Header has what else is known of an answer under names that no field has.
const (
	clientUpgrade, clientConnection = ":upgrade", ":connection"
	passedUpgrade, passedConnection = ":passed-upgrade", ":passed-connection"
	foundScript                     = ":script"
	closes                          = ":close"
)

// Closes says that its answer is the connection's last, as far as its header is kept.
func (a *Attempt) Closes() bool {
	_, ok := a.Header[closes]
	return ok
}

// ClientUpgrade is the protocol that the client asked to switch to, where the answer may
// be about that; "" for none.
func (a *Attempt) ClientUpgrade() string { return first(a.Header[clientUpgrade]) }

// HostIsAddress says that the Host sent was the upstream's own address, not the client's.
func (a *Attempt) HostIsAddress() bool {
	return a.Request != nil && a.Request.Host != "" && a.Request.Host == a.Address
}

// How php-fpm itself refuses a script, word for word: these are the whole bodies of its 404
// and its 403.
const (
	NoScript     = "File not found.\n"
	ScriptDenied = "Access denied.\n"
)

// ProtocolFastCGI is the protocol of what Caddy's transport fastcgi asks.
const ProtocolFastCGI = "fastcgi"

// RefusesScript says that an answer of FastCGI is one of php-fpm's own to a script that it
// does not find, or may not run. An application may say the same.
func (a *Attempt) RefusesScript() bool {
	if a.Protocol != ProtocolFastCGI || a.Body.Bytes != int64(len(a.Body.Start)) {
		return false
	}
	return a.Status == http.StatusNotFound && string(a.Body.Start) == NoScript ||
		a.Status == http.StatusForbidden && string(a.Body.Start) == ScriptDenied
}

// HasScript hears that Caddy itself has the script that was refused, and its name.
func (a *Attempt) HasScript(name string) {
	if a.Header != nil {
		a.Header[foundScript] = []string{name}
	}
}

// Script is the name of the script that php-fpm refused, "" where Caddy itself does not find
// that file.
func (a *Attempt) Script() string { return first(a.Header[foundScript]) }

// LengthUntold says that the request's body was sent without its length. What came chunked
// over HTTP/1.1 goes on so over HTTP/1.1, even where Caddy has buffered it whole.
func (a *Attempt) LengthUntold() bool {
	return a.Request != nil && (a.Request.ContentLength < 0 || a.CameChunked())
}

// CameChunked says that the client's own chunks are what goes on over HTTP/1.1.
func (a *Attempt) CameChunked() bool {
	return a.Request != nil && len(a.Request.TransferEncoding) > 0 && a.Protocol == "http/1.1"
}

// ClientConnection is the client's Connection field, where it asked to switch protocols.
func (a *Attempt) ClientConnection() string { return first(a.Header[clientConnection]) }

// Passed is what came of both to reverse_proxy, where handlers in front of it changed
// them.
func (a *Attempt) Passed() (upgrade, connection string, changed bool) {
	_, changed = a.Header[passedUpgrade]
	return first(a.Header[passedUpgrade]), first(a.Header[passedConnection]), changed
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// CarriesRequest says that what was sent is the client's request, and no question that
// the owner's config has about it.
func (a *Attempt) CarriesRequest() bool {
	return !a.Asks && (a.Limits == nil || !a.Limits.AsksFirst)
}

// unsent says that no byte of the request can have left.
func (a *Attempt) unsent() bool {
	if a.Connection != nil {
		return a.Connection.Carried != nil && a.Connection.Carried.Sent == 0
	}
	fastCGI := a.Protocol == ProtocolFastCGI // which has no hook that tells of a connection
	return a.Sent == 0 || a.DialErr || a.Exact && !fastCGI || a.Dialing != nil && (!fastCGI || !a.Dialing.connected())
}

// HasAnswer says that the headers of an answer came. The status of one may be 000.
func (a *Attempt) HasAnswer() bool { return a.Answered > 0 || a.Status != 0 }

// Unpassable says that no server of Go's can pass on an answer with this status: it
// panics.
func Unpassable(status int) bool { return status < 100 || status > 999 }

// Dialing is what was heard while a connection was dialled.
type Dialing struct {
	// Start is when dialling began, End when it had succeeded or failed; 0 if
	// it never did.
	Start, End time.Duration
	// Err is the exact error of dialling as a whole.
	Err error
	// Lookup is nil where no name was looked up.
	Lookup *Lookup
	// Connects are the addresses that were tried, in order of their end; at
	// most MaxConnects.
	Connects []Connect
	// TLSDone is when the handshake ended, with TLSErr if it failed. A
	// handshake that never ended has 0.
	TLSDone time.Duration
	TLSErr  error
	// Carried is what went over the connection that was dialled, and Link what was heard of
	// it, where the attempt got no further than the handshake; nil for others, or where
	// that can't be told.
	Carried *Carried
	Link    *Link
	// wire is that connection.
	wire *Wire
	// certificateEnds is when the certificate ends that was shown last, be it by a forward
	// proxy; the zero time for none.
	certificateEnds time.Time
	// near is nil until something nearly went wrong.
	near *Near
}

// connected says that a network connection came about.
func (d *Dialing) connected() bool {
	return d.End > 0 && d.Err == nil || slices.ContainsFunc(d.Connects, func(c Connect) bool { return c.End > 0 && c.Err == nil })
}

// MaxConnects is how many connects of one dial are kept (happy eyeballs).
const MaxConnects = 8

// Lookup is a name's resolution.
type Lookup struct {
	Host string
	// Start and End; End is 0 while it goes on.
	Start, End time.Duration
	Err        error
}

// Connect is a try to connect to one address.
type Connect struct {
	Network, Address string
	Start, End       time.Duration
	// Err is typed: *net.OpError and what it wraps. It is nil for success, and
	// for a connect that goes on (End is 0).
	Err error
}

// Connection is the connection that an attempt got.
type Connection struct {
	// At is when the attempt got it.
	At time.Duration
	// LocalAddress and RemoteAddress are its two ends, "" where not known.
	LocalAddress, RemoteAddress string
	// Reused says that it served another request before; WasIdle that it came
	// out of the idle pool, after having been idle for Idle.
	Reused, WasIdle bool
	Idle            time.Duration
	// ServerName is what its TLS was asked for: an address is not sent as a name. "" where
	// no TLS is spoken, or a transport hides it.
	ServerName string
	// TLSVersion and CipherSuite are those that were agreed on, by their numbers in TLS; 0
	// without it.
	TLSVersion, CipherSuite uint16
	// Opening is how one of HTTP/2 in the clear began: what came first over it, nil
	// where it was not listened to.
	Opening []byte
	// HandedOn says that another request has it by now, as it may once all of an answer
	// came. What goes over it is that one's.
	HandedOn bool
	// Carried is what went over it for this attempt; nil where that can't be told: HTTP/2
	// and 3, FastCGI, a dialer that could not be listened to, or where it was HandedOn.
	Carried *Carried
	// Link is what was heard of the connection as a whole; nil where that can't be told, or
	// it was HandedOn.
	Link *Link
}

// Body is what became of an answer's body.
type Body struct {
	// Bytes received of Expected; Expected is -1 where no length was promised.
	Bytes, Expected int64
	// Err is the exact error that broke it; nil for none.
	Err error
	// Ended says that its end was read.
	Ended bool
	// Uncompressed says that the transport asked for gzip and decodes it by itself.
	Uncompressed bool
	// Last is when bytes of it came last, 0 for never.
	Last time.Duration
	// Beyond is what had come after its end when that was read, nil for nothing: the
	// client has lost it.
	Beyond *Beyond
	// Reading is how long the upstream was waited for, to send it.
	Reading time.Duration
	// Start is its first bytes (see MaxBodyStart), kept only where a server may say there
	// how it wants to be asked, or who wrote it: of a 400, of Node's 403 and Apache's, of one to
	// a request whose Host was the upstream's address, of a 501 to a body of unknown length, of
	// php-fpm's 403 and 404; and of a gateway's 502, 503 and 504.
	Start []byte
}

// MaxBodyStart is how many bytes of a body are kept: Apache's sentence ends at its 311th.
const MaxBodyStart = 512
