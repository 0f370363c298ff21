package failure

import (
	"slices"
	"time"
)

// Limits are those of one reverse_proxy, as they were when its config was loaded.
// One value belongs to one handler: its pointer tells two handlers apart.
type Limits struct {
	// Transport is the transport's name, as its module: http, fastcgi.
	Transport string
	// Settings are the timeouts and bounds in force, and those that are absent.
	Settings []Setting
	// FailDuration is how long a failure counts against an upstream; 0 where
	// there are no passive health checks.
	FailDuration time.Duration
	// MaxFails is how many failures make an upstream unavailable.
	MaxFails int
	// AnswersCount says that answers may count as failures, too (unhealthy_status,
	// unhealthy_latency).
	AnswersCount bool
	// RetriesAnswers says that an answer may have the request tried again
	// (lb_retry_match).
	RetriesAnswers bool
	// AsksFirst says that the upstream is not sent the request but asked about it, as
	// forward_auth does.
	AsksFirst bool
	// Resolvers are the name servers that its transport asks; none where it asks the
	// system's.
	Resolvers []string
	// ActiveChecks says whether the upstreams are checked actively.
	ActiveChecks bool
	// MaxConnsPerHost is max_conns_per_host, 0 for no bound.
	MaxConnsPerHost int
	// ProxyProtocol is the version that is sent, "" for none.
	ProxyProtocol string
	// MaxResponseHeader is max_response_header in bytes, 0 for the transport's own.
	MaxResponseHeader int64
	// Retries is lb_retries.
	Retries int
	// RequestBuffers and ResponseBuffers are how many bytes of a body are buffered, 0 for
	// none.
	RequestBuffers, ResponseBuffers int64
	// StreamCloseDelay is for how long an upgraded connection outlives its config.
	StreamCloseDelay time.Duration
	// ScriptRoot is root of transport fastcgi, placeholders unexpanded: below it the FastCGI
	// server is asked for scripts.
	ScriptRoot string
	// Versions are those of HTTP that the transport offers: 1.1, 2, h2c, 3.
	Versions []string
	// TLS is nil where none is spoken.
	TLS *TLSSettings
	// Check is what an active health check asks; nil where none does.
	Check *Check
	// UnhealthyStatus are the statuses that count as failures, those of one digit a class;
	// UnhealthyLatency is the time after which an answer does, 0 for none.
	UnhealthyStatus  []int
	UnhealthyLatency time.Duration
	// Near are the times from which a phase is near its limit, computed once from Settings.
	Near Near
}

// Near are the times from which a phase of an attempt is near its limit: after four fifths
// of it. One without a limit is 0.
type Near struct{ Connect, Handshake, Response time.Duration }

// NearOf are four fifths of a limit.
func NearOf[T ~int | ~int64 | ~uint64](limit T) T { return limit - limit/5 }

// TLSSettings are a transport's.
type TLSSettings struct {
	// ServerName is tls_server_name, placeholders unexpanded; "" where the upstream's
	// address gives the name.
	ServerName string
	// ClientCertificate says that one is configured (tls_client_auth).
	ClientCertificate bool
	// Insecure says that the upstream's certificate is not checked
	// (tls_insecure_skip_verify).
	Insecure bool
	// TrustPool says that its authorities are configured (tls_trust_pool); without, the
	// system's are.
	TrustPool bool
	// Renegotiation is tls_renegotiation: never, once or freely.
	Renegotiation string
}

// Check is what an active health check asks for, and what it takes for healthy.
type Check struct {
	Method string
	// URI is health_uri; Host the Host that is sent, "" for the upstream's address.
	URI, Host string
	// Upstream stands in for the upstream's address, Port for its port; "" and 0 for
	// neither.
	Upstream string
	Port     int
	// Status is health_status, a class with one digit; 0 for any 2xx.
	Status int
	// Body says that the answer's body has to match a pattern, or not to be too large.
	Body bool
	// Rootless says that root of transport fastcgi is the site's, which no check has.
	Rootless bool
	// FollowsRedirects says whether a redirect is followed instead of taken for the
	// answer.
	FollowsRedirects  bool
	Interval, Timeout time.Duration
}

// Counts says whether an answer with this status, that took so long to come, counts as a
// failure (unhealthy_status, unhealthy_latency).
func (l *Limits) Counts(status int, latency time.Duration) bool {
	if l.UnhealthyLatency > 0 && latency >= l.UnhealthyLatency {
		return true
	}
	return slices.ContainsFunc(l.UnhealthyStatus, func(s int) bool { return s == status || s < 10 && status/100 == s })
}

// Setting is one directive with a duration, and its value in force.
type Setting struct {
	// Name is the Caddyfile's word, dial_timeout.
	Name   string
	Value  time.Duration
	Source LimitSource
}

// Names of the settings that a diagnosis speaks of: the Caddyfile's words.
const (
	DialTimeout           = "dial_timeout"
	TLSTimeout            = "tls_timeout"
	ResponseHeaderTimeout = "response_header_timeout"
	ExpectContinueTimeout = "expect_continue_timeout"
	ReadTimeout           = "read_timeout"
	WriteTimeout          = "write_timeout"
	Keepalive             = "keepalive"
	TryDuration           = "lb_try_duration"
	ReadBody              = "read_body" // this and the next are of the server's timeouts
	ReadBodyIdle          = "read_body_idle"
)

// ResponseLimit is the setting that ends the wait for an answer's header first: the time
// allowed for that, or for reading; ok is false where there is none.
func (l *Limits) ResponseLimit() (limit Setting, ok bool) {
	for _, name := range [...]string{ResponseHeaderTimeout, ReadTimeout} {
		if s, _ := l.Setting(name); s.Value > 0 && (!ok || s.Value < limit.Value) {
			limit, ok = s, true
		}
	}
	return limit, ok
}

// Limit returns the setting of that name as a record has it, or nil where it
// isn't known.
func (l *Limits) Limit(name string) *Limit {
	setting, ok := l.Setting(name)
	if !ok {
		return nil
	}
	limit := &Limit{Name: setting.Name, Source: setting.Source}
	if setting.Source != LimitAbsent {
		limit.ValueMS = MSPointer(setting.Value)
	}
	return limit
}

// Setting returns the setting of that name; ok is false where it isn't known,
// for a nil receiver too.
func (l *Limits) Setting(name string) (setting Setting, ok bool) {
	if l == nil {
		return Setting{}, false
	}
	for _, setting := range l.Settings {
		if setting.Name == name {
			return setting, true
		}
	}
	return Setting{}, false
}
