package failure

import "time"

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
)

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
