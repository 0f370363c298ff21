package cause

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// want is a word by which a server says that it was asked in the wrong way, and what it
// wants instead.
type want struct {
	// status is that of its answer, where it gives one; says is a sentence in its body, ""
	// where the status says it all.
	status int
	says   string
	// alert is TLS's, code that of HTTP/2's or HTTP/3's error.
	alert uint8
	code  string
	// over is how it was asked.
	over over
	// row is the cause, and tell makes more of it; it may be nil.
	row  *Row
	tell func(a *listen.Attempt, f finding) finding
	// unprocessed says that no application was asked.
	unprocessed bool
	// lost says that the status tells it of an answer, too, that could not be read to its
	// end, or at all: how it began was heard.
	lost bool
}

// over is what a request went over.
type over int

const (
	overAny over = iota
	overPlain
	overTLS
)

func (o over) fits(a *listen.Attempt) bool { return o == overAny || (o == overTLS) == a.TLS }

// wants are all of them, each with who says so. Those of whom nothing is said were heard
// from the servers themselves; "source" marks those that were read there.
var wants = []want{
	// Plain HTTP was sent to a TLS port. Node, HAProxy, uvicorn, Kestrel (source)
	// and openssl s_server close without a word, gunicorn resets.
	{status: 400, says: "Client sent an HTTP request to an HTTPS server.", over: overPlain, row: TLSExpected, tell: wantsTLS, unprocessed: true},   // Go, so Caddy and Traefik
	{status: 400, says: "The plain HTTP request was sent to HTTPS port", over: overPlain, row: TLSExpected, tell: wantsTLS, unprocessed: true},     // nginx, and what is made of it
	{status: 400, says: "speaking plain HTTP to an SSL-enabled server port", over: overPlain, row: TLSExpected, tell: wantsTLS, unprocessed: true}, // Apache
	{status: 400, says: "This combination of host and port requires TLS.", over: overPlain, row: TLSExpected, tell: wantsTLS, unprocessed: true},   // Tomcat, so Spring Boot and UniFi (source)
	{status: 400, says: "HTTP request to HTTPS port", over: overPlain, row: TLSExpected, tell: wantsTLS, unprocessed: true},                        // Jetty (source)
	{status: 400, says: "this server only speaks HTTPS on this port", over: overPlain, row: TLSExpected, tell: wantsTLS, unprocessed: true},        // Cheroot, so CherryPy and Salt (source)

	// Another version of HTTP is spoken.
	{status: 400, says: "An HTTP/1.x request was sent to an HTTP/2 only endpoint.", row: HTTPVersionMismatch, tell: wantsHTTP2, unprocessed: true}, // Kestrel (source)
	{status: 403, says: "Missing ALPN Protocol, expected `h2`", over: overTLS, row: HTTPVersionMismatch, tell: wantsHTTP2, unprocessed: true},      // Node
	{status: 505, row: HTTPVersionMismatch, tell: wantsVersion, unprocessed: true},                                                                 // RFC 9110 section 15.6.6
	{code: http2.ErrCodeHTTP11Required.String(), row: HTTPVersionMismatch, tell: wantsHTTP1},                                                       // IIS and Exchange (documents), Apache for a path with a certificate of its own
	{code: http2.ErrCodeInadequateSecurity.String(), row: HTTPVersionMismatch, tell: wantsBetterTLS},                                               // RFC 9113 section 9.2
	{code: "H3_VERSION_FALLBACK", row: HTTPVersionMismatch, tell: wantsNoHTTP3},                                                                    // RFC 9114 section 8.1
	{alert: alertNoApplicationProtocol, over: overTLS, row: HTTPVersionMismatch, tell: inHandshake},                                                // RFC 7301 section 3.2: Node, Go

	// Another name is served.
	{status: 421, over: overTLS, row: TLSServerNameRejected, tell: wrongName, unprocessed: true},                                                                        // Apache, nginx, Caddy (strict_sni_host)
	{status: 421, over: overPlain, row: UpstreamStatus, tell: wantsHost, unprocessed: true},                                                                             // RFC 9110 section 15.5.20
	{status: 400, says: "Invalid SNI", over: overTLS, row: TLSServerNameRejected, tell: wrongName, unprocessed: true},                                                   // Jetty (source)
	{status: 400, says: "The request hostname is invalid.", row: UpstreamStatus, tell: wantsHost, unprocessed: true},                                                    // IIS and Kestrel (source)
	{status: 403, says: "Blocked request. This host (", row: UpstreamStatus, tell: refusesAddress, unprocessed: true},                                                   // Vite (source)
	{status: 403, says: "Invalid Host header", row: UpstreamStatus, tell: refusesAddress, unprocessed: true},                                                            // webpack-dev-server (source)
	{status: 403, says: "Host check error", row: UpstreamStatus, tell: refusesAddress, unprocessed: true},                                                               // Syncthing (source)
	{status: 400, says: "Invalid host header", row: UpstreamStatus, tell: refusesAddress, unprocessed: true},                                                            // Starlette, so FastAPI (source)
	{status: 400, says: "DisallowedHost", row: UpstreamStatus, tell: refusesAddress, unprocessed: true},                                                                 // Django with DEBUG (source)
	{status: 403, says: "Cross origin websockets not allowed", row: UpstreamStatus, tell: refusesOrigin, unprocessed: true},                                             // Tornado, so Jupyter, Streamlit and OctoPrint (source)
	{status: 403, says: "is not authorized for Host", row: UpstreamStatus, tell: refusesOrigin, unprocessed: true},                                                      // coder/websocket (source)
	{status: 403, says: "Invalid CORS request", row: UpstreamStatus, tell: refusesOrigin, unprocessed: true},                                                            // Spring (source)
	{status: 403, says: "Origin checking failed", row: UpstreamStatus, tell: refusesOrigin, unprocessed: true},                                                          // Django with DEBUG (source)
	{status: 403, says: "ross-origin request", row: UpstreamStatus, tell: refusesOrigin, unprocessed: true},                                                             // Go's CrossOriginProtection (source), Genmon
	{status: 403, says: "Forbidden - origin invalid", row: UpstreamStatus, tell: refusesOrigin, unprocessed: true},                                                      // gorilla/csrf, so Portainer (source)
	{status: 403, row: UpstreamStatus, tell: refusesSocket},                                                                                                             // gorilla/websocket (source), whose application has seen it
	{status: 403, says: "Received invalid WebSocket request", row: UpstreamStatus, tell: cockpitRefuses, unprocessed: true},                                             // Cockpit (source)
	{status: 400, says: "Contradictory scheme headers", row: UpstreamStatus, tell: contradictsScheme, unprocessed: true},                                                // gunicorn (source)
	{status: 400, says: noReason, row: UpstreamStatus, tell: distrustsProxy},                                                                                            // Home Assistant (source)
	{alert: alertUnrecognizedName, over: overTLS, row: TLSServerNameRejected, tell: wantsServerName},                                                                    // RFC 6066 section 3: nginx (ssl_reject_handshake), HAProxy (strict-sni)
	{alert: alertInternalError, over: overTLS, row: TLSAlert, tell: mayWantServerName},                                                                                  // Go without a certificate for the name, so Caddy
	{alert: alertHandshakeFailure, over: overTLS, row: TLSAlert, tell: mayWantMuch},                                                                                     // RFC 8446 section 6.2
	{alert: alertProtocolVersion, over: overTLS, row: TLSVersionUnsupported, tell: tooOld},                                                                              // RFC 8446 section 6.2
	{status: 400, says: "No required SSL certificate was sent", over: overTLS, row: ClientCertificateRejected, tell: wantsCertificate, unprocessed: true},               // nginx
	{status: 400, says: "The SSL certificate error", over: overTLS, row: ClientCertificateRejected, tell: wantsCertificate, unprocessed: true},                          // nginx
	{status: 403, says: "Cannot perform Post-Handshake Authentication.", over: overTLS, row: ClientCertificateRejected, tell: wantsCertificateLater, unprocessed: true}, // Apache for a path, TLS 1.3

	// Another upgrade, or one that the client asked for and that was not passed on.
	{status: 426, row: UpstreamStatus, tell: wantsUpgrade, unprocessed: true},                                           // RFC 9110 section 15.5.22: Node's ws, Python's websockets
	{status: 400, says: "Unsupported upgrade request.", row: UpstreamStatus, tell: wantsNoWebSocket, unprocessed: true}, // uvicorn without a library for WebSocket

	// A body of a length that is known beforehand.
	{status: 411, row: UpstreamStatus, tell: wantsLength, unprocessed: true}, // RFC 9110 section 15.5.12
	{status: 501, says: "A header you provided implies functionality that is not implemented</Message><Header>Transfer-Encoding<", row: UpstreamStatus, tell: wantsLength, unprocessed: true}, // S3 (documents)

	// Another script than php-fpm has, or may run.
	{status: 404, says: strings.TrimSpace(listen.NoScript), row: UpstreamStatus, tell: lacksScript},
	{status: 403, says: strings.TrimSpace(listen.ScriptDenied), row: UpstreamStatus, tell: mayNotRun},

	// A PROXY protocol header that was not expected: nginx, Apache, HAProxy, Node, Go,
	// gunicorn, uvicorn, lighttpd and Puma answer 400, and close. They may do so before the
	// request is there, or with it unread, which resets the connection.
	{status: 400, row: UpstreamStatus, tell: wantsNoPROXY, lost: true},
}

// wantedBy finds what the upstream's own answer wants. Without a sentence a status says so
// only of an answer that was read.
func wantedBy(a *listen.Attempt) (finding, *want) {
	status, page := beginning(a)
	if status == 0 {
		return nothing, nil
	}
	for i := range wants {
		w := &wants[i]
		if w.status != status || !w.over.fits(a) || w.says == "" && a.Status != status && !w.lost {
			continue
		}
		evidence := "the upstream answered " + strconv.Itoa(status)
		if w.says != "" {
			if evidence = sentenceIn(page, w.says); evidence == "" {
				continue
			}
		}
		f := found(w.row, evidence).at(failure.PhaseHeaders)
		if w.tell != nil {
			f = w.tell(a, f)
		}
		if f.is() {
			return f, w
		}
	}
	return nothing, nil
}

// portSays finds the cause where the answer says how it is to be asked: whatever comes
// after that, it was heard.
func portSays(a *listen.Attempt) finding {
	if f, w := wantedBy(a); w != nil && (w.says != "" || w.lost) {
		return f
	}
	return nothing
}

// portCause finds the cause where the answer could not be read, or writing the request
// failed, and what had come is a port's own sentence.
func portCause(t *try) finding { return portSays(t.Attempt) }

// unprocessed says that an answer is one to how it was asked, which no application saw.
func unprocessed(a *listen.Attempt) bool {
	_, w := wantedBy(a)
	return w != nil && w.unprocessed
}

// saysTLS says that a page has the sentence of a TLS port.
func saysTLS(page []byte) bool {
	for i := range wants {
		if w := &wants[i]; w.row == TLSExpected && sentenceIn(page, w.says) != "" {
			return true
		}
	}
	return false
}

// codeWants finds what an error code of HTTP/2 or HTTP/3 wants, which the upstream sent.
func codeWants(a *listen.Attempt, code, evidence string) finding {
	for i := range wants {
		if w := &wants[i]; w.code != "" && w.code == code {
			f := w.tell(a, found(w.row, evidence))
			f.decided = f.undecided == ""
			return f
		}
	}
	return nothing
}

// sentenceIn gives the evidence that a sentence is on a page, "" for none.
func sentenceIn(page []byte, sentence string) string {
	i := bytes.Index(page, []byte(sentence))
	if i < 0 {
		return ""
	}
	line := page[i:]
	if end := bytes.IndexAny(line, "<\r\n"); end >= 0 {
		line = line[:end]
	}
	return "the answer says: " + said(string(line))
}

// beginning is the status of an answer that may say how it is to be asked, and how its
// body begins, whether somebody read it or it was only heard on the connection.
func beginning(a *listen.Attempt) (status int, page []byte) {
	if a.Status != 0 && (len(a.Body.Start) > 0 || a.Status != http.StatusBadRequest) {
		return a.Status, a.Body.Start
	}
	head := (&try{Attempt: a}).head()
	if head == "" && a.Connection != nil {
		head = string(a.Connection.Opening)
	}
	line, rest, _ := strings.Cut(head, "\r\n")
	version, code, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(version, "HTTP/1.") || !strings.HasPrefix(code, "400") {
		return a.Status, nil
	}
	_, body, _ := strings.Cut(rest, "\r\n\r\n")
	if strings.HasPrefix(rest, "\r\n") { // no field at all
		body = rest[len("\r\n"):]
	}
	return http.StatusBadRequest, []byte(body)
}

// What is to be done, by what was wanted.

const (
	adviceHTTP1 = "Set versions 1.1 in the transport: {upstream} says by its error code that it wants HTTP/1.1."
	adviceHTTP2 = "Set versions 2 in the transport, or let {upstream} speak HTTP/1.1 as well (allowHTTP1 of Node)."
	adviceH2C   = "Write h2c:// in front of {upstream}: this port speaks HTTP/2 alone. If the application has another port for HTTP beside one of gRPC, correct the port instead."
	adviceHTTP3 = "Set versions 1.1 2 in the transport, without 3: {upstream} says by its error code that it wants an older HTTP for this request."
	adviceTLS12 = "Look at the TLS versions and cipher suites that {upstream} takes for HTTP/2 (RFC 9113 section 9.2), or set versions 1.1 in the transport."
	adviceHost  = "Set header_up Host in reverse_proxy to a name that {upstream} serves."
	adviceHosts = "Set header_up Host in reverse_proxy to a name that {upstream} serves: mostly that which visitors ask for, {host}."

	advicePassUpgrade = "Remove what header_up does to Upgrade and Connection: the client asked to switch protocols, and {upstream} was not told."
	adviceKeepUpgrade = "Remove what request_header does to Upgrade and Connection: the client asked to switch protocols, and reverse_proxy was not told."
	adviceNameUpgrade = "Let the client, or what stands in front of Caddy (a balancer, a CDN), send Connection: Upgrade beside its Upgrade field: without it that is no wish to switch, and Caddy passes none on."
	adviceNoPROXY     = "Remove proxy_protocol from the transport, or let {upstream} expect the PROXY header on this port."
	adviceWebSocket   = "Give uvicorn a library for WebSocket: pip install 'uvicorn[standard]'; and take --ws none away, if it is set."
)

// wantsTLS advises by the scheme that was written: h2c:// is none that TLS can be added to.
func wantsTLS(a *listen.Attempt, f finding) finding {
	if a.Protocol == protocolH2C {
		return f.advise("Write https:// in front of {upstream} instead of h2c://, and take h2c out of versions in the transport, if it is there; or correct the port or the host, if one of HTTP/2 without TLS was meant.")
	}
	return f
}

func wantsHTTP1(a *listen.Attempt, f finding) finding {
	f.summary = "{upstream} speaks HTTP/2, and refuses it here: it wants HTTP/1.1."
	if f = f.advise(adviceHTTP1).leavesOpen(undecidedRefusal); a.Protocol == protocolH2C {
		return f.advise("Write http:// in front of {upstream} instead of h2c://, or take h2c out of versions in the transport: it says by its error code that it wants HTTP/1.1.")
	}
	return f
}

// undecidedRefusal is for a version that is spoken, and refused.
const undecidedRefusal = "whether it wants that for this request alone (a client certificate by renegotiation, NTLM) or for all, and whether the application or a server in front of it does, can't be told from here: its config tells"

func wantsHTTP2(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, versionsLine(a)...)
	if !a.TLS {
		return f.advise(adviceH2C).leavesOpen("an application that speaks HTTP/2 alone, the port of gRPC beside one of HTTP, and a wrong address look the same from here: the application's config tells")
	}
	return f.advise(adviceHTTP2)
}

func wantsNoHTTP3(_ *listen.Attempt, f finding) finding {
	f.summary = "{upstream} speaks HTTP/3, and refuses it here: it wants an older HTTP."
	return f.advise(adviceHTTP3).leavesOpen(undecidedRefusal)
}

func wantsBetterTLS(a *listen.Attempt, f finding) finding {
	f.summary = "{upstream} finds the TLS of this connection too weak for HTTP/2."
	if c := a.Connection; c != nil && c.TLSVersion != 0 {
		f.evidence = append(f.evidence, "agreed on were "+tls.VersionName(c.TLSVersion)+" and "+tls.CipherSuiteName(c.CipherSuite))
		if c.TLSVersion == tls.VersionTLS13 {
			f.evidence = append(f.evidence, "HTTP/2 itself asks for no more than TLS 1.3 has (RFC 9113 section 9.2): the rule is the server's own")
		}
	}
	return f.advise(adviceTLS12).leavesOpen("what it finds too weak, and whether the application or a server in front of it does, can't be told from here: its config tells")
}

// inHandshake is for what is only said in TLS's.
func inHandshake(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, versionsLine(a)...)
	if a.Protocol == protocolHTTP3 {
		return f.at(failure.PhaseTLS).advise("Take 3 out of versions in the transport, or turn HTTP/3 on at {upstream}: in the handshake it says that it does not speak it.").
			leavesOpen("whether HTTP/3 is off there, is on for another name or in a draft's version alone, or the port is another program's that speaks QUIC, can't be told from here: its config tells")
	}
	f.evidence = append(f.evidence, nameLine(a)...)
	if a.Limits != nil && slices.Contains(a.Limits.Versions, "1.1") && slices.Contains(a.Limits.Versions, "2") {
		f.summary = "{upstream} takes neither of the protocols that Caddy offers in TLS (HTTP/1.1 and HTTP/2)."
		return f.at(failure.PhaseTLS).advise("Correct the address, or let the server at {upstream} offer HTTP in TLS (ALPN: http/1.1 or h2): in the handshake it says that it takes neither." + tryName(a)).
			leavesOpen("whether the address is the wrong one, or the server or a box in between takes no HTTP there, for all or for who asks for " + otherName(a) + ", can't be told from here: what is meant to be there tells")
	}
	return f.at(failure.PhaseTLS).advise("Set versions in the transport to those that {upstream} offers in TLS (ALPN): in the handshake it says that none of Caddy's is among them.")
}

// tryName is for a server that may do otherwise for another name.
func tryName(a *listen.Attempt) string {
	if noNameSent(a) {
		return " If it serves by name, set tls_server_name to one of its names: none was sent."
	}
	return " If it serves by name, set tls_server_name to another of its names."
}

// otherName is by what a server may tell those apart whom it serves.
func otherName(a *listen.Attempt) string {
	if noNameSent(a) {
		return "no name"
	}
	return "this name"
}

// onlyHTTP1 is for an upstream that answered HTTP/2 in HTTP/1.
func onlyHTTP1(t *try, evidence string) finding {
	f := found(HTTPVersionMismatch, evidence).advise(adviceOnlyHTTP1(t.Attempt))
	if t.TLS {
		return f
	}
	return f.leavesOpen("whether Caddy's version, the scheme (TLS ports answer so, too, whose own words were not found in it) or the port is the wrong one, or HTTP/2 is off there and is meant to be on, can't be told from here: what this port is for tells")
}

// adviceOnlyHTTP1 is for an upstream that answered HTTP/2 in HTTP/1.
func adviceOnlyHTTP1(a *listen.Attempt) string {
	if a.TLS {
		return "Set versions 1.1 in the transport: {upstream} answers in HTTP/1."
	}
	return "Write http:// in front of {upstream} instead of h2c://, or take h2c out of versions in the transport: it answers in HTTP/1. If it is meant to speak HTTP/2 (gRPC), turn that on there instead."
}

// wantsVersion says which version was refused.
func wantsVersion(a *listen.Attempt, f finding) finding {
	f.summary = "{upstream} answered 505: it does not take the version of HTTP in which Caddy asks it."
	f.evidence = append(f.evidence, "it was asked in "+orText(a.Protocol, "a version that is not known"))
	f = f.leavesOpen("a server or one in front of it that takes another version alone, a wrong address, and an application that refuses the request by a 505 of its own look the same from here: its log tells")
	if a.Protocol == protocolHTTP1 && !a.TLS {
		return f.advise("Write h2c:// in front of {upstream}, if it speaks HTTP/2 alone, which curl -v --http2-prior-knowledge http://{address}/ tells; else look in its log for who answered 505.")
	}
	return f
}

// wantsHost is for a Host that is not served.
func wantsHost(a *listen.Attempt, f finding) finding {
	f.side = failure.SideProxy
	f.evidence = append(f.evidence, hostLine(a)...)
	advice := adviceHost
	if a.HostIsAddress() {
		f.evidence = append(f.evidence, addressLine(a)...)
		advice = adviceHosts
	}
	return f.advise(advice).leavesOpen("whether this Host is the wrong one, the upstream or a server in front of it lacks it, another server than is meant answers, or an application refuses it by a " + strconv.Itoa(a.Status) + " of its own, can't be told from here: the names that it serves tell")
}

// refusesAddress is for an application that has a list of names by which it may be asked,
// and was asked by its address. Where the Host is the client's own, the list is the
// application's affair, and who sends it may be anybody.
func refusesAddress(a *listen.Attempt, f finding) finding {
	if !a.HostIsAddress() {
		return nothing
	}
	f.side = failure.SideProxy
	f.evidence = append(f.evidence, hostLine(a)...)
	f.evidence = append(f.evidence, addressLine(a)...)
	return f.advise("Set header_up Host {host} in reverse_proxy, so that {upstream} gets the name that visitors ask for; or add its own address to the names that it allows.").
		leavesOpen("whether it allows the name that visitors ask for can't be told from here: its list of allowed hosts tells")
}

// refusesOrigin is for an upstream that takes a request of its own site for another site's,
// where it got its own address for a Host: it compares the Origin with that, or with a list.
// A request that does come from another site is refused as it should be.
func refusesOrigin(a *listen.Attempt, f finding) finding {
	if !fromTheSite(a) {
		return nothing
	}
	if f = refusesAddress(a, f); !f.is() {
		return nothing
	}
	f.summary = "{upstream} took a request of its own site for another site's: the Host that it got was not the name that visitors ask for."
	f.evidence = append(f.evidence, "the Origin sent was that of the site which the visitor asked for")
	return f.advise("Set header_up Host {hostport} in reverse_proxy, so that {upstream} finds the same in Host as in Origin; or add the site to the origins that it allows.").
		leavesOpen("whether it compares the Origin with the Host, or with a list of its own that lacks the site, can't be told from here: its config tells")
}

// refusesSocket is for gorilla/websocket, which says by this field that it refuses a
// handshake, and by 403 that it does so for the Origin.
func refusesSocket(a *listen.Attempt, f finding) finding {
	version := a.Header.Get("Sec-Websocket-Version")
	if version == "" {
		return nothing
	}
	if f = refusesOrigin(a, f); !f.is() {
		return nothing
	}
	f.evidence = append(f.evidence, "its 403 has Sec-WebSocket-Version "+said(version)+", as gorilla/websocket refuses an Origin")
	return f
}

// cockpitRefuses is for Cockpit, which takes a WebSocket from no other page than its own, or
// those of its list. It compares the scheme, too.
func cockpitRefuses(a *listen.Attempt, f finding) finding {
	if known := refusesOrigin(a, f); known.is() {
		return known
	}
	if !fromTheSite(a) || !strings.Contains(string(a.Body.Start), cockpitsTitle) {
		return nothing
	}
	origin := siteOf(a.Request.Header.Get("Origin"))
	f.summary = "Cockpit at {upstream} refused a WebSocket of its own site: it does not know the site by this name and scheme."
	f.evidence = append(append(append(f.evidence, "the Origin sent was "+origin+", that of the site which the visitor asked for"), hostLine(a)...), schemeLine(a)...)
	return f.advise("Name the site in /etc/cockpit/cockpit.conf, below [WebService]: Origins = " + origin + ", and ProtocolHeader = X-Forwarded-Proto; then restart Cockpit.").
		leavesOpen("whether the site lacks in its Origins, or Cockpit does not believe X-Forwarded-Proto, can't be told from here: its log names the Origin that it refused, and its config tells")
}

// cockpitsTitle is that of its refusal: libsoup has the same sentence, and says 400 there.
const cockpitsTitle = "<title>403 Forbidden</title>"

// siteOf is the scheme and the host of an Origin, and nothing else that may stand in it.
func siteOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return failure.Redacted
	}
	return cut(failure.Visible(u.Scheme+"://"+u.Host), maxQuoted)
}

// schemeFields are those by which gunicorn is told of the visitor's scheme, and what says
// https there, unless its secure_scheme_headers says otherwise. Caddy itself writes the first
// one alone.
var schemeFields = [...]struct{ name, secure string }{{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Protocol", "ssl"}, {"X-Forwarded-Ssl", "on"}}

// contradictsScheme is for gunicorn, which was told by one field that the visitor came by
// https, and by another one that not.
func contradictsScheme(a *listen.Attempt, f finding) finding {
	f.summary = "{upstream} was told by one field that the visitor came by https, and by another that not."
	var more []string
	var secure, plain bool
	if a.Request != nil {
		for i, field := range schemeFields {
			values := a.Request.Header.Values(field.name)
			for _, value := range values {
				secure, plain = secure || value == field.secure, plain || value != field.secure
				f.evidence = append(f.evidence, field.name+" "+said(value)+" was sent to it")
			}
			if i > 0 && len(values) > 0 {
				more = append(more, field.name)
			}
		}
	}
	switch {
	case !secure || !plain: // what Caddy sent says one thing
		return f.advise("Look at what stands between Caddy and the application at {upstream}, and at gunicorn's secure_scheme_headers: what Caddy sent does not contradict itself.").
			leavesOpen("whether a server in between writes such a field, or gunicorn is told to look at another one, can't be told from here: their config tells")
	case len(more) == 0:
		f.side = failure.SideProxy
		return f.advise("Let X-Forwarded-Proto be sent once: header_up X-Forwarded-Proto without a + sets it.").decides()
	}
	f.side = failure.SideProxy
	remove := "ake " + strings.Join(more, " and ") + " away from what is sent (header_up -" + strings.Join(more, ", header_up -") + " in reverse_proxy)"
	f = f.leavesOpen("whether the client, a proxy in front of Caddy, or the config (header_up, request_header) writes " + strings.Join(more, " and ") + " can't be told from here: the config tells")
	if a.Request.Header.Get(schemeFields[0].name) == "http" {
		return f.advise("If TLS ends in front of Caddy, set trusted_proxies to what stands there, so that Caddy passes its X-Forwarded-Proto on; if not, t" + remove + ".")
	}
	return f.advise("T" + remove + ": X-Forwarded-Proto says it alone.")
}

// noReason is the whole body of a 400 that an application made with aiohttp gives without a
// word of its own.
const noReason = "400: Bad Request"

// distrustsProxy is for Home Assistant, which refuses whatever comes by a proxy that it was
// not told of. It says no more than any application of aiohttp may, which has less reason
// to where a visitor asks for no more than the site.
func distrustsProxy(a *listen.Attempt, f finding) finding {
	if a.Request == nil || a.Request.Method != http.MethodGet || a.Request.URL.Path != "/" || a.Request.URL.RawQuery != "" ||
		a.Request.Header.Get("X-Forwarded-For") == "" || !strings.Contains(a.Header.Get("Server"), "aiohttp/") || string(a.Body.Start) != noReason {
		return nothing
	}
	f.summary = "{upstream} refused with 400 even the site's first page, as Home Assistant does where it was not told to trust Caddy."
	f.evidence = append(f.evidence, "its Server: "+said(a.Header.Get("Server")), "X-Forwarded-For was sent to it, as a proxy does")
	return f.advise("If this is Home Assistant, look in its log for the address of an untrusted proxy: write it into trusted_proxies below http: in its configuration.yaml, and use_x_forwarded_for: true beside it. For another application its own log says why.").
		leavesOpen("Home Assistant that does not trust Caddy's address, one that trusts it and can't read an X-Forwarded field, and another application made with aiohttp that has a reason of its own look the same from here: its log tells")
}

// fromTheSite says that the page that made a request is one of the site that it asks.
func fromTheSite(a *listen.Attempt) bool {
	if a.Request == nil {
		return false
	}
	origin, err := url.Parse(a.Request.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, a.Request.Header.Get("X-Forwarded-Host"))
}

// addressLine says that it was Caddy which put a Host in place of the client's.
func addressLine(a *listen.Attempt) []string {
	switch {
	case !a.HostIsAddress():
		return nil
	case a.TLS:
		return []string{"that is the upstream's own address, which Caddy sends to https:// upstreams unless header_up Host says otherwise"}
	}
	return []string{"that is the upstream's own address, not the name that visitors ask for"}
}

// wantsUpgrade is for 426: the client has to be told where it asked for no upgrade, or
// for another. What the config made of its request is the proxy's.
func wantsUpgrade(a *listen.Attempt, f finding) finding {
	asked := ""
	if a.Request != nil {
		asked = a.Request.Header.Get("Upgrade")
	}
	wanted := a.Header.Get("Upgrade")
	f.evidence = append(f.evidence, "the upstream's Upgrade: "+said(wanted))
	switch upper := strings.ToUpper(wanted); {
	case strings.HasPrefix(upper, "TLS/") && !a.TLS: // RFC 2817 section 4.2
		f.row = TLSExpected
		f.summary = "{upstream} answered 426: it wants TLS."
		f.evidence = append(f.evidence, schemeLine(a)...)
		return f.advise(adviceTryTLS).leavesOpen("TLS on this port, TLS on another, and an application that only wants to hear that the visitor came by https look the same from here: curl -vk https://, and the application's config, tell")
	case strings.HasPrefix(upper, "HTTP/"), strings.HasPrefix(upper, "H2C"):
		f.row = HTTPVersionMismatch
		return f
	case a.ClientUpgrade() != "" && asked == "":
		f.side = failure.SideProxy
		f.summary = "{upstream} answered 426: it wants to switch protocols, and Caddy did not pass the client's wish to it."
		connection := "the client's Connection: " + said(a.ClientConnection())
		if a.ClientConnection() == "" {
			connection = "the client sent no Connection field"
		}
		f.evidence = append(f.evidence, "the client asked for "+said(a.ClientUpgrade())+"; what was sent had no Upgrade field", connection)
		if !names(a.ClientConnection(), "Upgrade") {
			// By RFC 9110 section 7.8 it is none then, and Caddy drops it.
			return f.advise(adviceNameUpgrade)
		}
		if upgrade, connection, changed := a.Passed(); changed {
			f.evidence = append(f.evidence, "what came to reverse_proxy had Upgrade: "+said(upgrade)+", Connection: "+said(connection)+": a handler in front of it took it away")
			return f.advise(adviceKeepUpgrade)
		}
		f.evidence = append(f.evidence, "it still stood in the request that came to reverse_proxy, which passes such a wish on by itself: header_up took it away, no handler before")
		return f.advise(advicePassUpgrade)
	}
	return nothing
}

// adviceTryTLS is for an answer in plain HTTP that asks for TLS: who gave it speaks both, or
// TLS is elsewhere.
const adviceTryTLS = "Ask this port in TLS from " + thisMachine + " (curl -vk https://{address}/): if it answers, write https:// in front of {upstream}; if not, use the port on which it speaks TLS. If it has none, it wants X-Forwarded-Proto https: redirect visitors to https, or set trusted_proxies where TLS ends before Caddy."

// schemeLine says by which scheme the visitor was said to come.
func schemeLine(a *listen.Attempt) []string {
	if a.Request == nil {
		return nil
	}
	switch scheme := a.Request.Header.Get("X-Forwarded-Proto"); scheme {
	case "http", "https":
		return []string{"X-Forwarded-Proto " + scheme + " was sent to it"}
	}
	return nil
}

// names says that a list in a field names a word.
func names(list, word string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(one), word) {
			return true
		}
	}
	return false
}

// wantsNoWebSocket is for a server that can't do what the client asked for.
func wantsNoWebSocket(a *listen.Attempt, f finding) finding {
	if !strings.EqualFold(a.ClientUpgrade(), "websocket") {
		return nothing // nobody has to know it
	}
	f.evidence = append(f.evidence, "the client asked for \"websocket\"")
	return f.advise(adviceWebSocket).leavesOpen("whether the library is missing, or WebSocket is turned off (--ws none), can't be told from here: uvicorn's log tells")
}

// wantsLength is for an upstream that takes no body whose length it is not told beforehand.
// It may have been told: then it refuses for a reason of its own.
func wantsLength(a *listen.Attempt, f finding) finding {
	if !a.LengthUntold() {
		return nothing
	}
	f.side = failure.SideProxy
	f.summary = "{upstream} answered " + strconv.Itoa(a.Status) + ": it wants to be told how long the request's body is, and was not."
	f = f.leavesOpen("whether the application or a server in front of it wants that can't be told from here: its config tells")
	switch {
	case len(a.Request.Trailer) > 0:
		f.evidence = append(f.evidence, "the request was sent without a Content-Length: it has trailers, which can't be sent with one")
		return f.advise("Let the client send a Content-Length, and no trailers.")
	case a.CameChunked():
		f.evidence = append(f.evidence, "the request came in chunks over HTTP/1.1 (Transfer-Encoding: chunked), and Caddy sends such a one on so, with request_buffers, too")
		return f.advise("Let the client send a Content-Length. If it can't, let it speak HTTP/2 to Caddy, and set request_buffers in reverse_proxy to more than such a body has (request_buffers 10MiB): Caddy tells the length then.")
	}
	f.evidence = append(append(f.evidence, "the request came without a Content-Length, and was sent on so"), buffersLine(a)...)
	return f.advise(adviceBuffers)
}

// lacksScript is for php-fpm that does not find a script which Caddy has. Where Caddy has it
// no more than php-fpm, the visitor asked for what is not there.
func lacksScript(a *listen.Attempt, f finding) finding {
	if !a.RefusesScript() || a.Script() == "" {
		return nothing
	}
	f.side = failure.SideProxy
	f.summary = "php-fpm at {upstream} finds no script where Caddy has one."
	f.evidence = append(f.evidence, "Caddy itself has this script below the site's root: "+said(a.Script()))
	same := "Let php-fpm have the site's files at the same path as Caddy (the same volume, mounted at the same place), and let its user into each folder of that path"
	if root := scriptRoot(a); root != "" {
		f.evidence = append(f.evidence, "php-fpm is asked for it below another root: root in php_fastcgi or its transport is "+said(root))
		return f.advise("Set root in php_fastcgi to where php-fpm has the site's files: it finds none there now. If they are to be there, look whether its container has that volume, and whether its user may enter each folder.").leavesOpen(undecidedScript)
	}
	f.evidence = append(f.evidence, "php-fpm is asked for it at the same path")
	return f.advise(same + "; or set root in php_fastcgi to where php-fpm has them.").leavesOpen(undecidedScript)
}

// mayNotRun is for php-fpm that refuses a script which Caddy has.
func mayNotRun(a *listen.Attempt, f finding) finding {
	if !a.RefusesScript() || a.Script() == "" {
		return nothing
	}
	f.side = failure.SideProxy
	f.summary = "php-fpm at {upstream} refuses to run a file that Caddy has."
	f.evidence = append(f.evidence, "Caddy itself has this file below the site's root: "+said(a.Script()))
	if name := strings.ToLower(a.Script()); !strings.HasSuffix(name, ".php") && !strings.HasSuffix(name, ".phar") {
		f.evidence = append(f.evidence, "php-fpm runs .php and .phar alone, unless security.limit_extensions of its pool says otherwise")
		return f.advise("Send php-fpm the site's scripts alone: php_fastcgi does, with file_server beside it for all other files. If it is to run this one, add its extension to security.limit_extensions of its pool.").leavesOpen(undecidedScript)
	}
	return f.advise("Let the user that php-fpm runs as read the script, or look at security.limit_extensions of its pool: its log says which of the two it was.").leavesOpen(undecidedScript)
}

// undecidedScript is for words that an application could say as well.
const undecidedScript = "an application that answers in these very words itself looks the same from here: php-fpm's own log tells"

// scriptRoot is where php-fpm is asked for scripts, "" where that is the site's root.
func scriptRoot(a *listen.Attempt) string {
	if a.Limits == nil || a.Limits.ScriptRoot == "{http.vars.root}" {
		return ""
	}
	return a.Limits.ScriptRoot
}

// wantsNoPROXY is for a 400 that is the first answer on a connection which began with a
// PROXY header, and the last. An application's own 400 leaves it open.
func wantsNoPROXY(a *listen.Attempt, f finding) finding {
	if a.Limits == nil || a.Limits.ProxyProtocol == "" || a.Connection == nil || a.Connection.Reused || !answersLast(a) {
		return nothing
	}
	if a.Before != nil && a.Before.Worked > 0 {
		return nothing // a connection served a second request: the header is expected
	}
	f.side = failure.SideProxy
	if !a.HasAnswer() {
		f.proxyError = "proxy_configuration_error" // the client got another status
	}
	f.evidence = append(f.evidence, "a PROXY protocol header ("+a.Limits.ProxyProtocol+") was sent before the request: an upstream that does not expect one answers so, and closes")
	return f.advise(adviceNoPROXY).leavesOpen("an application or a server in front of it that refuses the request by a 400 of its own, and one that expects the header in its other version, look the same from here: its log tells")
}

// answersLast says that an answer is its connection's last, be it one that was only heard
// on it. One that came before the request was sent ends it, too: the transport takes it for
// nobody's.
func answersLast(a *listen.Attempt) bool {
	if a.HasAnswer() {
		return a.Closes()
	}
	if link := a.Connection.Link; link != nil && link.Shared {
		return false // HTTP/2's preface may be what was not understood
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(a.Connection.Carried.Final())), nil)
	return err == nil && (res.Close || nothingSent(a))
}

// wrongName is for a server name and a Host that don't fit.
func wrongName(a *listen.Attempt, f finding) finding {
	f.proxyError = "proxy_configuration_error" // no alert came
	f.summary = nameSummary(a)
	f.evidence = append(f.evidence, nameLine(a)...)
	f.evidence = append(f.evidence, hostLine(a)...)
	if a.Status == http.StatusMisdirectedRequest {
		switch name, why := askedFor(a); {
		case why != "":
			f.summary = "{upstream} answered 421: it does not serve this Host over a connection that began without a server name."
		case name != "":
			f.summary = "{upstream} answered 421: it does not serve this Host over a connection that began with this server name."
		}
		f.undecided = "whether the server name, the Host, or the upstream's names are wrong, another server answers, or an application refuses it by a 421 of its own can't be told from here: the names that it serves, and its log, tell"
	} else if noNameSent(a) {
		f.undecided = "which names it serves, or whether another server than is meant answers, can't be told from here: its config tells"
	}
	return f.advise(adviceForServerName(a))
}

// tooOld says what was offered to a server that takes none of it.
func tooOld(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, offeredTLS(a)...)
	return f
}

// undecidedNames is for a server that was asked for no name at all.
const undecidedNames = "which names it serves, whether it has a certificate for any, or whether another server than is meant or a box in between answers can't be told from here: its config tells"

// wantsServerName is for a server that refuses the handshake for its name. Which of the
// two is wrong, the name or the server, nothing tells.
func wantsServerName(a *listen.Attempt, f finding) finding {
	f = asksForName(a, f)
	f.summary = nameSummary(a)
	if name, why := askedFor(a); why == "" && name != "" && !strings.Contains(name, "{") {
		f.summary = "{upstream} does not serve the name " + name + ", which TLS was asked for."
		change := "change tls_server_name in the transport to one of these"
		if s := tlsSettings(a); s != nil && s.ServerName == "" {
			change = "set tls_server_name in the transport to one of these"
		}
		return f.advise("Look which names {upstream} serves (openssl s_client -connect {address} -servername <name>): " + change + ", or let it serve " + name + " if that is the right one.")
	}
	if noNameSent(a) {
		f.undecided = undecidedNames
	}
	return f
}

// asksForName says which name TLS was asked for, and advises one where none was.
func asksForName(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, nameLine(a)...)
	if noNameSent(a) {
		f.evidence = append(f.evidence, hostLine(a)...)
		return f.advise(adviceForServerName(a))
	}
	return f
}

// nameSummary says which of the two it was, as far as it is known: another name was sent,
// or none.
func nameSummary(a *listen.Attempt) string {
	switch name, why := askedFor(a); {
	case why != "":
		return "{upstream} wants a server name in the TLS handshake, and none was sent."
	case name != "":
		return "{upstream} does not serve the name that was asked for in the TLS handshake."
	}
	return ""
}

// mayWantServerName is for an alert that says nothing else where a name was sent.
func mayWantServerName(a *listen.Attempt, f finding) finding {
	f = asksForName(a, f)
	if alertCameFirst(a) {
		f.evidence = append(f.evidence, askedForNone)
	}
	if noNameSent(a) {
		f.side = failure.SideProxy
		if strings.HasPrefix(f.advice, adviceOwnName) { // no name that it may serve is known
			f = f.advise("Look at the TLS log of {upstream} for the alert's reason. If it has no certificate where no name is asked for, s" + f.advice[1:])
		}
		return f.leavesOpen("a server that has no certificate where no name is asked for (Go's, so Caddy), one with a fault of its own, and a box in between look the same from here: its TLS log tells")
	}
	if slices.Contains(clearMessages(a), messageServerHello) {
		return f
	}
	return f.advise("Look at the upstream's TLS log for the alert's reason, first whether it has a certificate for the name that was asked for.").
		leavesOpen("a server that has no certificate for this name (Go's, so Caddy), one with a fault of its own, and a box in between look the same from here: its TLS log tells")
}

// askedForNone is for an alert before which nothing came.
const askedForNone = "nothing came before it: the server had asked for no certificate yet"

// mayWantMuch is for the alert that stands for whatever is not in common.
func mayWantMuch(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, nameLine(a)...)
	if alertCameFirst(a) {
		f.evidence = append(append(f.evidence, askedForNone), offeredTLS(a)...)
		name := "the name"
		if noNameSent(a) {
			name = "a handshake without a name"
		}
		return f.advise(adviceNothingShared(a)).leavesOpen("whether it refuses " + name + ", the versions, the ciphers or the curves that Caddy offers, or has a fault of its own, or a box in between sends this, can't be told from here: its TLS log tells")
	}
	f.evidence = append(f.evidence, certificateLine(a)...)
	came := clearMessages(a)
	switch s := tlsSettings(a); {
	case !slices.Contains(came, messageServerHello):
		return f
	case slices.Contains(came, messageCertificateRequest) && s != nil:
		f.evidence = append(f.evidence, "before it the server had chosen a version and a cipher of those offered, and had asked for a client certificate")
		refused := "the certificate that was presented"
		if !s.ClientCertificate {
			refused = "that none was presented"
			f.summary = "{upstream} refused the TLS handshake with an alert: it had asked for a client certificate, and got none."
			f = f.advise("Look at the upstream's TLS log for the alert's reason: if it wants the client certificate that it asked for, set tls_client_auth in the transport to one from an authority that it trusts.")
		}
		return f.leavesOpen("whether it refuses " + refused + ", or has a fault of its own, or another server or a box in between answers, can't be told from here: its TLS log tells")
	}
	f.evidence = append(f.evidence, "before it the server had chosen a version and a cipher of those offered")
	if slices.Contains(came, messageServerHelloDone) {
		f.evidence = append(f.evidence, "it had asked for no client certificate")
		return f.leavesOpen("whether it refuses the name that was asked for, or has a fault of its own, or a box in between sends this, can't be told from here: its TLS log tells")
	}
	return f.leavesOpen("whether it refuses the name that was asked for, wants a client certificate, or has a fault of its own, or a box in between sends this, can't be told from here: its TLS log tells")
}

// adviceNothingShared is for a server of which only a handshake by hand can tell what it
// takes: OpenSSL offers more than Caddy does.
func adviceNothingShared(a *listen.Attempt) string {
	named := "if another name works, set that by tls_server_name in the transport"
	if noNameSent(a) {
		named = "if it works with a name alone, set tls_server_name in the transport to that: none was sent"
	}
	return "Look at the upstream's TLS log for the alert's reason. If it has none, ask it from " + thisMachine + " (" + byOpenSSL(a) + "): " + named +
		"; if the Cipher that it names begins with neither TLS_ nor ECDHE, the upstream takes none of those that Caddy offers: let it take ECDHE, or start Caddy with GODEBUG=tlsrsakex=1 for an old device that takes RSA key exchange (AES256-GCM-SHA384) alone. If it names none, or SHA1 as Peer signing digest, openssl with -cipher DEFAULT@SECLEVEL=0 shows what an old device has: for one that signs by SHA1 alone, GODEBUG=tlssha1=1."
}

// wantsCertificate is for a server that says that it wants a client's certificate, or
// another.
func wantsCertificate(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, certificateLine(a)...)
	if f.phase == failure.PhaseHeaders {
		f.proxyError = "proxy_configuration_error" // no alert came
	}
	s := tlsSettings(a)
	switch {
	case s == nil:
		return f
	case !s.ClientCertificate:
		return f.leavesOpen("whether a certificate is meant to be wanted there, by the application or a server in front of it, or another server than is meant answers can't be told from here: its config tells")
	}
	return f.advise(adviceOtherCertificate)
}

// refusesCertificate is wantsCertificate for an alert, which may say what is wrong with the
// one that was presented.
func refusesCertificate(a *listen.Attempt, f finding, alert uint8) finding {
	f = wantsCertificate(a, f)
	if s := tlsSettings(a); s == nil || !s.ClientCertificate {
		return f
	}
	switch alert {
	case alertUnknownCA:
		f.summary = "{upstream} does not know the authority of the client certificate that Caddy presented."
		return f.leavesOpen("whether the certificate in tls_client_auth is the wrong one or lacks an intermediate, the upstream does not trust its authority, or another server than is meant answers can't be told from here: its log tells")
	case alertCertificateExpired:
		f.summary = "{upstream} says that the client certificate which Caddy presented has expired, or is not valid yet."
		return f.leavesOpen("whether the dates of the certificate in tls_client_auth, or of one in its chain, have passed, or the upstream's clock is wrong, can't be told from here: openssl x509 -noout -dates, and its clock, tell")
	case alertCertificateRequired:
		return f.leavesOpen("whether none was presented because its authority is none of those that the upstream named, or another server than is meant answers, can't be told from here: its config tells")
	}
	return f
}

// wantsCertificateLater is for a server that asks for one when it knows the path, which
// nobody can be asked for over TLS 1.3 who did not offer it, as Go's client does not.
func wantsCertificateLater(a *listen.Attempt, f finding) finding {
	f.evidence = append(f.evidence, certificateLine(a)...)
	f.proxyError = "proxy_configuration_error" // no alert came
	f.side = failure.SideUpstream
	return f.advise(adviceAskAtFirst)
}

// adviceAskAtFirst is for a certificate that is asked for too late.
const adviceAskAtFirst = "Let {upstream} ask for the certificate in the handshake (SSLVerifyClient for the whole site, not for a path), and present it by tls_client_auth."

// adviceOtherCertificate is for one that was presented, and refused.
const adviceOtherCertificate = "Replace the certificate in tls_client_auth by a valid one for clients, from an authority that {upstream} trusts."

// What was asked, in evidence.

// certificateLine says whether there was a certificate to present.
func certificateLine(a *listen.Attempt) []string {
	switch s := tlsSettings(a); {
	case s == nil:
		return nil
	case s.ClientCertificate:
		return []string{"tls_client_auth is set: there was a certificate to present"}
	}
	return []string{"tls_client_auth is not set: no certificate was presented"}
}

func tlsSettings(a *listen.Attempt) *failure.TLSSettings {
	if a.Limits == nil {
		return nil
	}
	return a.Limits.TLS
}

// askedFor is the name that TLS was asked for, with the reason where none is: an address
// isn't sent as one (RFC 6066 section 3).
func askedFor(a *listen.Attempt) (name, why string) {
	s := tlsSettings(a)
	switch {
	case !a.TLS || a.Protocol == protocolHTTP3 && s == nil:
		return "", ""
	case a.Connection != nil && a.Connection.ServerName != "":
		name = a.Connection.ServerName
	case s != nil && s.ServerName != "":
		if name = s.ServerName; strings.Contains(name, "{") {
			return name, ""
		}
	case strings.HasPrefix(a.Network, "unix"), s == nil:
		return "", ""
	default:
		if name = a.Address; name == "" {
			return "", ""
		}
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
	}
	bare, _, _ := strings.Cut(name, "%")
	if net.ParseIP(strings.Trim(bare, "[]")) != nil {
		return "", strings.Trim(name, "[]") + " is an address"
	}
	return name, ""
}

// noNameSent says that TLS was asked for no name.
func noNameSent(a *listen.Attempt) bool {
	_, why := askedFor(a)
	return why != ""
}

// nameLine says which name TLS was asked for, as far as it is known.
func nameLine(a *listen.Attempt) []string {
	switch name, why := askedFor(a); {
	case why != "":
		return []string{"no server name was sent: " + why}
	case name == "":
		return nil
	case strings.Contains(name, "{"):
		return []string{"the server name sent was what tls_server_name " + name + " gave"}
	default:
		return []string{"the server name sent was " + name + nameSource(a)}
	}
}

// nameSource says where the name comes from that TLS was asked for, as far as that is
// known.
func nameSource(a *listen.Attempt) string {
	switch s := tlsSettings(a); {
	case s == nil:
		return ""
	case s.ServerName != "":
		return ", from tls_server_name"
	}
	return ", from the upstream's address"
}

// hostLine says which Host was asked for.
func hostLine(a *listen.Attempt) []string {
	if a.Request == nil || a.Request.Host == "" {
		return nil
	}
	words := "the Host sent was "
	if a.Connection == nil {
		words = "the Host to be sent was "
	}
	return []string{words + cut(failure.Visible(a.Request.Host), maxQuoted)}
}

// adviceForServerName names what to set: the Host, where that can be a server's name.
func adviceForServerName(a *listen.Attempt) string {
	if a.Request != nil {
		host := a.Request.Host
		if bare, _, err := net.SplitHostPort(host); err == nil {
			host = bare
		}
		if len(host) <= maxServerName && isHostName(host) {
			return "Set tls_server_name " + host + " in the transport, or to another name that {upstream} serves."
		}
	}
	return adviceOwnName + ", and header_up Host to the same."
}

// adviceOwnName is where no request says which name that may be.
const adviceOwnName = "Set tls_server_name in the transport to the name that {upstream} serves"

// maxServerName is how long a name may be that is advised.
const maxServerName = 100
