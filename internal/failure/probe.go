package failure

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Probe is what came of asking an upstream once more, without a client. Where something is
// wrong it is diagnosed as a request's failure is, and says so by the same names. What isn't
// known is left out.
type Probe struct {
	// Upstream is the one that was asked, as configured: an address or a dynamic source.
	Upstream string `json:"upstream"`
	// Address is where the connection led to, or what was dialled.
	Address    string       `json:"address,omitempty"`
	Time       Timestamp    `json:"time"`
	DurationMS Milliseconds `json:"duration_ms"`
	// OK says that an answer came, and that nothing is wrong with it as far as is known: a
	// 404 is one.
	OK      bool         `json:"ok"`
	Summary string       `json:"summary"`
	Proxy   ProbeProxy   `json:"reverse_proxy"`
	Request ProbeRequest `json:"request"`
	// Steps are how far it came, each with what came of it.
	Steps []ProbeStep `json:"steps"`
	// Checks were made on connections of their own: what else is spoken there.
	Checks   []ProbeCheck `json:"checks"`
	NotTried []NotTried   `json:"not_tried"`

	Cause      string    `json:"cause,omitempty"`
	Category   Category  `json:"category,omitempty"`
	ProxyError string    `json:"proxy_error,omitempty"`
	Phase      Phase     `json:"phase,omitempty"`
	Side       Side      `json:"side,omitempty"`
	Advice     string    `json:"advice,omitempty"`
	Evidence   []string  `json:"evidence,omitempty"`
	Error      string    `json:"error,omitempty"`
	Limit      *Limit    `json:"limit,omitempty"`
	Received   *Received `json:"received,omitempty"`
}

// ProbeProxy is the reverse_proxy by whose transport it was asked.
type ProbeProxy struct {
	// Index is which one of those that lead to the upstream, Count how many they are.
	Index int `json:"index"`
	Count int `json:"count"`
	// Sites are the labels of the sites that lead to it, Server the name of their server.
	Sites  []string `json:"sites"`
	Server string   `json:"server"`
	// Transport is the transport's name, as its module: http, fastcgi; left out for another
	// plugin's.
	Transport string `json:"transport,omitempty"`
	TLS       bool   `json:"tls"`
}

// ProbeRequest is the request that was sent, or would have been.
type ProbeRequest struct {
	Method string `json:"method"`
	Host   string `json:"host"`
	// URI is without values of its query.
	URI string  `json:"uri"`
	By  ProbeBy `json:"by"`
}

// ProbeBy says who chose the request.
type ProbeBy string

const (
	// ProbeByDefault: it is the plainest there is, sent as this reverse_proxy sends it.
	ProbeByDefault ProbeBy = "default"
	// ProbeByHealthCheck: it is the one that the active health check asks for.
	ProbeByHealthCheck ProbeBy = "health_check"
)

// ProbeStepName is a part of asking an upstream.
type ProbeStepName string

// The steps, in their order.
const (
	ProbeDNS     ProbeStepName = "dns"
	ProbeConnect ProbeStepName = "connect"
	ProbeTLS     ProbeStepName = "tls"
	ProbeHTTP    ProbeStepName = "http"
)

// ProbeStep is a part of asking an upstream, as far as it came. Each address that was tried
// is a step of its own.
type ProbeStep struct {
	Step ProbeStepName `json:"step"`
	OK   bool          `json:"ok"`
	// StartMS is since the probe began.
	StartMS    Milliseconds `json:"start_ms"`
	DurationMS Milliseconds `json:"duration_ms"`
	// Name is what was looked up, Addresses what came.
	Name      string   `json:"name,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	// Address is where a connect led to.
	Address string `json:"address,omitempty"`
	// TLS is what a handshake tells.
	TLS *Handshake `json:"tls,omitempty"`
	// Protocol and the rest are of the answer, or of the wait for it.
	Protocol string `json:"protocol,omitempty"`
	Status   int    `json:"status,omitempty"`
	Server   string `json:"server,omitempty"`
	Via      string `json:"via,omitempty"`

	Error string `json:"error,omitempty"`
	Errno string `json:"errno,omitempty"`
}

// Handshake is what a TLS handshake tells.
type Handshake struct {
	// Version is TLS 1.3, ALPN the protocol that was agreed on, ServerName the name that was
	// asked for.
	Version     string           `json:"version,omitempty"`
	ALPN        string           `json:"alpn,omitempty"`
	ServerName  string           `json:"server_name,omitempty"`
	Certificate *PeerCertificate `json:"certificate,omitempty"`
}

// PeerCertificate is the one that an upstream has shown.
type PeerCertificate struct {
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	// Names are the first of those that it is for.
	Names    []string  `json:"names"`
	NotAfter Timestamp `json:"not_after"`
	// Verified says that it fits the name and who is trusted; Error is why it doesn't.
	Verified bool   `json:"verified"`
	Error    string `json:"error,omitempty"`
}

// ProbeCheckName is what is tried on a connection of its own.
type ProbeCheckName string

// The checks.
const (
	// CheckTLS says a TLS hello where plain HTTP is configured, CheckPlain plain HTTP where
	// TLS is.
	CheckTLS   ProbeCheckName = "tls"
	CheckPlain ProbeCheckName = "plain_http"
	// CheckHTTP1 speaks HTTP/1.1, CheckH2 HTTP/2 over TLS, CheckH2C HTTP/2 in the clear.
	CheckHTTP1 ProbeCheckName = "http/1.1"
	CheckH2    ProbeCheckName = "h2"
	CheckH2C   ProbeCheckName = "h2c"
	// CheckFastCGI asks a FastCGI server for its values.
	CheckFastCGI ProbeCheckName = "fastcgi"
)

// ProbeCheck is what came of one.
type ProbeCheck struct {
	Check ProbeCheckName `json:"check"`
	// Speaks says whether that is spoken there; left out where it can't be told.
	Speaks     *bool        `json:"speaks,omitempty"`
	Summary    string       `json:"summary"`
	DurationMS Milliseconds `json:"duration_ms"`
	TLS        *Handshake   `json:"tls,omitempty"`
}

// NotTried is something that was left out, and why.
type NotTried struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// ProbeQuery says whom to ask.
type ProbeQuery struct {
	// Upstream is a configured one, or an address that a dynamic source gave.
	Upstream string `json:"upstream"`
	// Site narrows it to what leads there from that site; Index chooses among the
	// reverse_proxy handlers that remain, of which the first is 0.
	Site  string `json:"site,omitempty"`
	Index *int   `json:"index,omitempty"`
}

// ProbeRefused says why nobody was asked.
type ProbeRefused struct {
	Why     ProbeRefusal
	Message string
	// RetryAfter is after how long it may be tried again; 0 where that changes nothing.
	RetryAfter time.Duration
}

func (r *ProbeRefused) Error() string { return r.Message }

// ProbeRefusal is a kind of reason.
type ProbeRefusal int

const (
	// ProbeUnknown: no config that runs leads there.
	ProbeUnknown ProbeRefusal = iota
	// ProbeImpossible: it can't be asked.
	ProbeImpossible
	// ProbeTooOften: it, or others, were asked only now.
	ProbeTooOften
)

// MaxProbes is how many probes are kept with an incident: the last ones.
const MaxProbes = 3

// What a probe has at most. MaxProbeBytes is that of its JSON: it is kept with each incident
// of its upstream.
const (
	MaxProbeBytes     = 4 << 10
	maxProbeText      = 512
	maxProbeName      = 160
	maxProbeAddresses = 8
	maxProbeNames     = 5
	maxProbeEvidence  = 10
	maxProbeSteps     = 12
	maxProbeNotTried  = 8
)

// Bound makes a probe small enough to be kept: what names, banners and certificates say
// comes from others. It is one line each, and in one piece of memory with nothing else.
func (p *Probe) Bound() {
	p.Steps = p.Steps[:min(len(p.Steps), maxProbeSteps)]
	p.Evidence = p.Evidence[:min(len(p.Evidence), maxProbeEvidence)]
	p.NotTried = p.NotTried[:min(len(p.NotTried), maxProbeNotTried)]
	for text, most := range p.texts() {
		*text = shown(*text, most)
	}
	for _, less := range []func(){
		func() { p.Evidence = p.Evidence[:min(len(p.Evidence), 3)] },
		func() { p.eachHandshake(func(h *Handshake) { h.Certificate = nil }, false) },
		func() { p.NotTried = p.NotTried[:min(len(p.NotTried), 3)] },
		func() {
			for i := range p.Steps {
				p.Steps[i].Addresses = p.Steps[i].Addresses[:min(len(p.Steps[i].Addresses), 2)]
			}
		},
		func() {
			if len(p.Steps) > 4 {
				p.Steps = append(p.Steps[:2], p.Steps[len(p.Steps)-2:]...)
			}
		},
		func() { p.Evidence, p.Received = nil, nil },
		func() { p.NotTried = p.NotTried[:0] },
		func() { p.eachHandshake(func(h *Handshake) { h.Certificate = nil }, true) },
		func() { p.Proxy.Sites = p.Proxy.Sites[:min(len(p.Proxy.Sites), 1)] },
	} {
		if p.fits() {
			return
		}
		less()
	}
	for most := maxProbeName; most > len(cutMark) && !p.fits(); most /= 2 {
		for text := range p.texts() {
			*text = shown(*text, most)
		}
	}
}

func (p *Probe) fits() bool {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // as it is answered
	return encoder.Encode(p) == nil && text.Len() <= MaxProbeBytes
}

// eachHandshake does something with that of each check, and where steps says so of each
// step.
func (p *Probe) eachHandshake(do func(*Handshake), steps bool) {
	for i := range p.Checks {
		if h := p.Checks[i].TLS; h != nil {
			do(h)
		}
	}
	for i := range p.Steps {
		if h := p.Steps[i].TLS; h != nil && steps {
			do(h)
		}
	}
}

// texts are all that may be another's, each with how many bytes it may have.
func (p *Probe) texts() map[*string]int {
	texts := map[*string]int{
		&p.Upstream: maxProbeName, &p.Address: maxProbeName, &p.Summary: maxProbeText, &p.Advice: maxProbeText, &p.Error: maxProbeText,
		&p.Proxy.Server: maxProbeName, &p.Request.Method: maxProbeName, &p.Request.Host: maxProbeName, &p.Request.URI: maxProbeName,
	}
	if r := p.Received; r != nil {
		for _, text := range []*string{&r.Server, &r.Via, &r.RetryAfter, &r.ProxyStatus, &r.GRPCStatus, &r.GRPCMessage} {
			texts[text] = maxProbeName
		}
	}
	p.Proxy.Sites = bound(texts, p.Proxy.Sites, maxProbeNames)
	p.Evidence = bound(texts, p.Evidence, maxProbeEvidence)
	for i := range p.Evidence {
		texts[&p.Evidence[i]] = maxProbeText
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		s.Addresses = bound(texts, s.Addresses, maxProbeAddresses)
		for _, text := range []*string{&s.Name, &s.Address, &s.Protocol, &s.Server, &s.Via, &s.Error} {
			texts[text] = maxProbeName
		}
	}
	for i := range p.Checks {
		texts[&p.Checks[i].Summary] = 2 * maxProbeName
	}
	for i := range p.NotTried {
		texts[&p.NotTried[i].What], texts[&p.NotTried[i].Why] = maxProbeName, maxProbeName
	}
	p.eachHandshake(func(h *Handshake) {
		texts[&h.ALPN], texts[&h.ServerName] = maxProbeName, maxProbeName
		if c := h.Certificate; c != nil {
			texts[&c.Subject], texts[&c.Issuer], texts[&c.Error] = maxProbeName, maxProbeName, maxProbeName
			c.Names = bound(texts, c.Names, maxProbeNames)
		}
	}, true)
	return texts
}

// bound keeps the first of a list, and adds them to texts.
func bound(texts map[*string]int, list []string, most int) []string {
	list = list[:min(len(list), most)]
	for i := range list {
		texts[&list[i]] = maxProbeName
	}
	return list
}

// cutMark stands where something was cut.
const cutMark = "…"

// shown is a text on one line, of so many bytes at most.
func shown(text string, most int) string {
	text = Visible(strings.ToValidUTF8(text, "�"))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most-len(cutMark)], "") + cutMark
	}
	return strings.Clone(text)
}
