package cause

import (
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// endedUnanswered says of a connection that the upstream ended without a byte of an
// answer what may be behind it. Nothing that came tells: the time that it took does, and
// what this upstream did before.
func endedUnanswered(t *try, f finding) finding {
	if t.Interim != 0 {
		return endedAfterInterim(t, f)
	}
	f.evidence = append(append(append(f.evidence, beforeWords(t)...), livedOn(t)...), askedAgain(t)...)
	took := elapsed(sent(t), t.end)
	atOnce := took <= bound(t)
	fresh := t.Connection == nil || !t.Connection.Reused
	switch {
	case t.protocol == protocolHTTP3 && t.is(io.EOF, io.ErrUnexpectedEOF):
		return streamUnanswered(f)
	case t.protocol == protocolH2C && atOnce && t.Before != nil && t.Before.Answers == 0 && t.Connection != nil && len(t.Connection.Opening) == 0:
		f.evidence = append(f.evidence, "nothing of HTTP/2 had come over the connection")
		return f.advise(adviceNoHTTP2).leavesOpen("a port that does not speak HTTP/2, and a crash, look the same from here: asking it by hand tells (curl --http2-prior-knowledge)")
	}
	f.evidence = append(append(f.evidence, spoken(t)...), endOverHTTP2(t)...)
	switch {
	case atOnce && fresh && t.again == 0 && t.Before != nil && (t.Before.Answers == 0 || mayRefusePROXY(t)):
		return otherThere(t, f)
	case atOnce && fresh && nothingSent(t.Attempt):
		return f.advise(adviceAtAccept).leavesOpen(openAtAccept)
	case took >= time.Second:
		return ownLimit(t, f, took)
	case t.protocol == protocolFastCGI:
		return f.advise(adviceScriptEnded).leavesOpen("why it ended this can't be told from here (a crash, a killed worker, a restart, a script that ends without any output, a server in between): php-fpm's log tells")
	case atOnce && t.again != 0:
		f = f.advise(adviceEndedOnce)
	case t.Before != nil && t.Before.Answers > 0 && asksForWebSocket(t):
		f.evidence = append(f.evidence, "the request asks for a WebSocket; the answers before may all be to others")
		return f.advise(adviceUpgradeEnded).leavesOpen("a refusal of this WebSocket or of its session, a limit on how many there are, a server in between that takes none, a crash and a restart look the same from here: the application's log tells")
	case atOnce && t.Before != nil && t.Before.Answers > 0:
		f = f.advise(adviceWorkerEnded)
		if line, bytes := headSize(t.Attempt); bytes >= tightHeader {
			f.evidence = append(f.evidence, line)
			f = f.advise(adviceWorkerEnded + adviceTightHeader)
		}
	case t.Before != nil && !everAnswered(t):
		f = f.advise(neverAnswered(t, took))
	}
	return f.leavesOpen(whyEnded(t, atOnce))
}

// everAnswered says that the upstream has answered something, before this or when it was asked
// again.
func everAnswered(t *try) bool { return t.again != 0 || t.Before != nil && t.Before.Answers > 0 }

// livedOn says of a connection that had been idle that it was not found dead.
func livedOn(t *try) []string {
	c := t.Connection
	if c == nil || !c.WasIdle || soon(t) {
		return nil
	}
	return []string{"the connection was not found dead (keepalive_race): it lived on for " + ms(diedAfter(t)) + ", longer than the " + ms(bound(t)) + " granted to a round trip"}
}

// askedAgain says what the same address did with the same request later.
func askedAgain(t *try) []string {
	if t.again == 0 {
		return nil
	}
	return []string{"asked again, the same address answered this request with " + strconv.Itoa(t.again) + ": this port speaks HTTP, and no lasting rule refuses the request"}
}

// endOverHTTP2 says what is known of an end over HTTP/2 alone. Its transport names a GOAWAY
// that came before the connection was closed, and tells of a header only once it is whole.
func endOverHTTP2(t *try) []string {
	if !isHTTP2(t) {
		return nil
	}
	lines := []string{"whether the header of an answer had begun can't be told: over HTTP/2 it shows only once it is whole"}
	if t.is(io.ErrUnexpectedEOF) {
		lines = append(lines, "no GOAWAY had come: the end of the connection was not announced")
	}
	return lines
}

// inBetween is who else may have ended a connection: a reset may be made by what only
// passes it on.
func inBetween(t *try) string {
	if wasReset(t) && !strings.HasPrefix(t.Network, "unix") {
		return "a server or a firewall in between"
	}
	return "a server in between"
}

// wasReset says that the connection was reset, by the peer or in its name.
func wasReset(t *try) bool {
	switch errnoOf(t.err) {
	case syscall.ECONNRESET, syscall.ECONNABORTED:
		return true
	}
	link := linkOf(t.Attempt)
	return link != nil && link.End == listen.EndReset
}

// whyEnded is what may be behind an end without an answer, as far as nothing excludes it.
func whyEnded(t *try, atOnce bool) string {
	limits := "for time or requests"
	_, head := headSize(t.Attempt)
	switch {
	case atOnce && head >= tightHeader:
		limits = "for requests, connections or the size of a header"
	case atOnce:
		limits = "for requests or connections"
	case t.RequestBytes >= smallBody:
		limits = "for time, size or requests"
	}
	reasons, tell := "a crash, a killed worker, a restart, a limit of its own "+limits, "its log tells"
	if t.again == 0 {
		reasons += ", a refusal"
	}
	reasons += ", " + inBetween(t)
	if t.Before != nil && !spokeHTTP(t.Attempt) && t.again == 0 {
		reasons, tell = reasons+", a port of another protocol", "its log, and what listens there, tell"
	}
	return "why it ended this can't be told from here (" + reasons + "): " + tell
}

// smallBody is so little that no limit for the size of a request is lower.
const smallBody = 1 << 10

// neverAnswered is the advice for an upstream that has never answered, and took a moment to
// end this.
func neverAnswered(t *try, took time.Duration) string {
	other := ", or a balancer or tunnel that did not reach what it hands on to"
	if !spokeHTTP(t.Attempt) {
		other += ", or a port of another protocol that waited for more"
	}
	return "Look at the log of what listens on {address} at this time: it has never answered, and ended this after " + ms(took) + ". That may be a crash, a killed worker or a limit of its own" + other + "."
}

// endedUnread says the same of a connection that was ended while the request was being
// sent: where nothing has ever worked, it was not for the request's size, unless that is a
// large one.
func endedUnread(t *try, f finding) finding {
	if t.Interim != 0 || t.Before == nil || t.Before.Answers > 0 && !mayRefusePROXY(t) || t.Connection == nil || t.Connection.Reused || isHTTP2(t) || diedAfter(t) > bound(t) {
		f.evidence = append(f.evidence, spokenWords(t)...)
		return f
	}
	if !t.TLS {
		f.evidence = append(f.evidence, sentPROXY(t)...)
	}
	f.evidence = append(f.evidence, beforeWords(t)...)
	// What listens there says more than what the request announced.
	large := t.RequestBytes >= largeBody || announced(t) >= largeBody && kindOf(t.Attempt) == "" && publishedTo(t) == ""
	if large && len(sentPROXY(t)) == 0 {
		return f.advise(RequestWriteFailed.Advice + " If it takes such a size, " + askIt(t, handsOn, tlsPort, otherPort)).leavesOpen(otherPortToo(RequestWriteFailed.Undecided, t))
	}
	return otherThere(t, f)
}

// largeBody is how large a body must be for its size to be a reason: Go's servers end a
// connection on which so much is left unread (net/http's maxPostHandlerReadBytes), others
// have limits that are larger.
const largeBody = 256 << 10

// announced is how large the request's body said that it is: many refuse by that alone.
func announced(t *try) int64 {
	if t.Request == nil {
		return 0
	}
	return t.Request.ContentLength
}

// mayRefusePROXY says that the answers that came before may all be those of a server that
// does not expect the PROXY header: none came over a connection that had served a request.
func mayRefusePROXY(t *try) bool {
	return t.Limits != nil && t.Limits.ProxyProtocol != "" && !t.TLS && t.Before.Worked == 0
}

// openAtAccept is what looks the same where nothing had been asked yet.
const openAtAccept = "a restart or a crash, a limit on connections, a list of allowed addresses, and a target that is gone look the same from here: the log there tells"

const (
	adviceAtAccept    = "Look at what accepts connections on {address}: it ended this one before anything was sent, so that no request made it crash. A restart, a limit on connections or a list of allowed addresses does so, and what hands on to an application that is gone."
	adviceEndedOnce   = "Look at the log of the server at {upstream} at this time for a crash, a killed worker or a restart, and for workers or connections that end after a number of requests (max_requests, keepalive_requests)."
	adviceWorkerEnded = "Look at the application's log for a crash or a killed worker at this time, for workers that end after a number of requests (max_requests), and for a rule that refuses this one without a word (nginx's return 444)."
)

// tightHeader is from what size on a request's header may be too large for a server that says
// nothing of it: uwsgi takes 4 KiB unless it is told otherwise, of what it makes of it.
const tightHeader = 3 << 10

// adviceTightHeader comes after adviceWorkerEnded.
const adviceTightHeader = " If those alone end so whose header is as large, raise its limit (buffer-size of uwsgi: 4096 bytes unless it is set), or send less."

// adviceUpgradeEnded is for a WebSocket that was ended without a word, by an upstream that
// answers other requests.
const adviceUpgradeEnded = "Look at what the application does upon a WebSocket at this path: many end the connection without a word where they expect none (socket.destroy of Node), or don't know its session. With several processes, all requests of a session have to reach the same one (lb_policy cookie; Socket.IO). Else look in its log for a crash at this time."

// asksForWebSocket says that a request of HTTP/1.1 was sent as one for a WebSocket.
func asksForWebSocket(t *try) bool {
	return t.Request != nil && !isHTTP2(t) && t.protocol != protocolHTTP3 && strings.EqualFold(t.Request.Header.Get("Upgrade"), "websocket")
}

// adviceNoHTTP2 is for one of h2c:// that may not speak it: most answer in HTTP/1.1 then.
const adviceNoHTTP2 = "Check that {upstream} speaks HTTP/2 without TLS on this port: one that speaks HTTP/1.1 alone may close without a word (Tomcat does), and wants http:// instead of h2c:// in reverse_proxy. Else look at the application's log for a crash at this time."

// spokenWords say by what the protocol of an upstream is known, or that it isn't.
func spokenWords(t *try) []string {
	switch {
	case saidItsSettings(t):
		return []string{speaksHTTP2}
	case t.protocol == protocolH2 && t.TLS:
		return []string{agreedHTTP2}
	case t.Interim != 0, isHTTP2(t), t.protocol == protocolHTTP3:
		return nil
	}
	return beforeWords(t)
}

// beforeWords tell what the upstream did before, as far as that is known.
func beforeWords(t *try) []string {
	if t.Before == nil {
		return nil
	}
	n := t.Before.Answers
	switch last := t.Before.Last; {
	case n == 0:
		return []string{"this upstream had not answered anything before this request, since this Caddy began"}
	case last > 0:
		return []string{"it had given " + counted(n, "answer") + " before, the last one " + ms(last) + " after this request came"}
	default:
		return []string{"it had given " + counted(n, "answer") + " before, the last one " + ms(-last) + " before this request came"}
	}
}

// workedBefore says that an upstream had answered, where it has not answered this: the
// address, and what Caddy speaks there, are right.
func workedBefore(t *try) []string {
	if t.Before == nil || t.Before.Answers == 0 || t.FirstByte > 0 || t.HasAnswer() {
		return nil
	}
	return beforeWords(t)
}

// otherThere is for a new connection to an upstream that never answered, which it ended
// at once: most likely no application has worked there. What is likely depends on how it
// was asked; who asks it by hand knows.
func otherThere(t *try, f finding) finding {
	proxied := t.Limits != nil && t.Limits.ProxyProtocol != ""
	if to := publishedTo(t); to != "" && !t.TLS { // a handshake is made with somebody
		f.evidence = append(f.evidence, "docker-proxy takes the connections to this port of "+host.Here()+", for "+to)
		return f.advise("Let the application listen on " + to + ", which is 0.0.0.0 seen from inside its container and not 127.0.0.1, or publish the port on which it does: docker-proxy accepts whether anybody listens there or not. If it does listen, " + askIt(t, tlsPort, otherPort)).leavesOpen(byHand(t))
	}
	switch {
	case nothingSent(t.Attempt) && !proxied && !t.TLS && t.protocol != protocolFastCGI:
		return f.advise("Look what listens on {address}: it ended this before anything was sent. Most likely nothing works behind it (a published Docker port, a tunnel or a balancer whose target is gone); else look in its log for a restart, a limit on connections, or a list of addresses that it takes connections from.").
			leavesOpen("a restart or a crash, a limit on connections, a list of allowed addresses, a target that is gone, and another program on this port look the same from here: what listens there, and its log, tell")
	case t.protocol == protocolFastCGI && strings.HasPrefix(t.Network, "unix"):
		return f.advise("Look at the log of php-fpm at this time. If it has nothing of this, something else listens on {address}: a server that speaks HTTP (reverse_proxy without FastCGI).").
			leavesOpen("php-fpm that is restarted or whose worker crashes, a script that ends without any output, and a server that speaks no FastCGI look the same from here: php-fpm's log, and what listens there (ss -xlp), tell")
	case t.protocol == protocolFastCGI:
		return f.advise(adviceNoFastCGI).leavesOpen("a published Docker port behind which nobody listens, php-fpm that refuses this client, restarts or crashes, a script without any output, and a port that speaks no FastCGI look the same from here: what listens there, and php-fpm's log, tell")
	case proxied && !t.TLS: // else the handshake would have failed for it
		return f.advise("Let {upstream} expect the PROXY header, or remove proxy_protocol from the transport. If it does expect it, look at its log at this time; if that has nothing of this, " + askIt(t, handsOn, tlsPort, otherTold)).leavesOpen(byHand(t))
	case isHTTP2(t):
		likely := []string{"what speaks HTTP/2 there hands on to an application that is gone", "its HTTP/2 fails upon Caddy's (versions 1.1 in the transport shows, where it takes that)"}
		if t.TLS {
			likely = append(likely, "it wants a client certificate (tls_client_auth)")
		}
		return f.advise(first(t) + askIt(t, likely...)).leavesOpen(byHand(t))
	case t.TLS:
		return f.advise(first(t) + askIt(t, "what ends TLS there hands on to an application that is gone", "wants a client certificate (tls_client_auth)", "speaks another protocol inside (HTTP/2 alone, if it is answered without --http1.1: set versions 2 in the transport)")).leavesOpen(byHand(t))
	case strings.HasPrefix(t.Network, "unix"):
		return f.advise(first(t) + askIt(t, "it is php-fpm's (php_fastcgi)", "uwsgi's own (http-socket instead of socket)", "what listens hands on to an application that is gone, or that fails each time")).leavesOpen(byHand(t))
	}
	if kind := kindOf(t.Attempt); kind != "" {
		f.side = failure.SideProxy
		if kind == onTLSPort {
			return f.advise(kind + " If that does not help, " + askIt(t, handsOn, otherPort)).leavesOpen(byHand(t))
		}
		return f.advise(kind + " If it is the application's, " + askIt(t, handsOn, tlsPort)).leavesOpen(byHand(t))
	}
	return f.advise(first(t) + askIt(t, handsOn, tlsPort, otherPort)).leavesOpen(byHand(t))
}

// first is what comes before asking by hand: who read the request may have logged it.
func first(t *try) string {
	if closedInOrder(t) {
		return "Look at the log of what listens on {address} at this time: it closed in good order. If that has nothing of this, "
	}
	return "Look what listens on {address}, and at its log at this time. If that has nothing of this, "
}

// askIt is the first step where nothing that came tells: to ask the upstream by hand. What
// is likely if it ends that, too, comes next, three reasons at most; the others stand in
// the catalogue.
func askIt(t *try, likely ...string) string {
	ask := "curl -v http://{address}/"
	switch {
	case strings.HasPrefix(t.Network, "unix"):
		ask = "curl -v --unix-socket {address} http://localhost/"
	case t.TLS && isHTTP2(t): // curl is to ask as Caddy did: by itself it takes the newest that there is
		ask = "curl -vk --http2 https://{address}/"
	case t.TLS:
		ask = "curl -vk --http1.1 https://{address}/"
	case isHTTP2(t):
		ask = "curl -v --http2-prior-knowledge http://{address}/"
	}
	if last := len(likely) - 1; last > 0 {
		likely = []string{strings.Join(likely[:last], ", "), likely[last]}
	}
	answers := "if it is answered, look in the log there for a crash upon this request, and at the Host that it gets (header_up Host; nginx's return 444)."
	if nothingSent(t.Attempt) {
		answers = "if it is answered, look for a restart, or for a list of addresses that it takes connections from."
	}
	return "ask it from " + thisMachine + " (" + ask + "): if that is ended, too, most likely " + strings.Join(likely, ", or ") + "; " + answers
}

// byHand is what looks the same where askIt is advised.
func byHand(t *try) string {
	other := "a crash, a rule"
	if nothingSent(t.Attempt) {
		other = "a list of allowed addresses"
	}
	protocol := "another protocol"
	switch {
	case isHTTP2(t):
		protocol = "its HTTP/2"
	case t.TLS:
	case len(sentPROXY(t)) > 0:
		other += ", a PROXY header not expected"
	default:
		protocol += " or a PROXY header first"
	}
	if t.TLS { // Go doesn't tell of a certificate that was asked for and not given, nor how TLS was ended
		other += ", no client certificate"
	}
	if wasReset(t) && !strings.HasPrefix(t.Network, "unix") {
		other += ", a firewall in between"
	}
	return "why it ended this can't be told from here (" + protocol + ", nothing behind it, this client refused, a limit, a restart, " + other + "): what listens there, and its log, tell"
}

// publishedPort is replaced in tests.
var publishedPort = host.PublishedPort

// publishedTo is where docker-proxy hands a connection on that led to this machine, ""
// where it doesn't.
func publishedTo(t *try) string {
	address, err := netip.ParseAddrPort(addressOf(t.Attempt))
	if err != nil || !host.Own(address.Addr()) {
		return ""
	}
	to, ok := publishedPort(address.Port())
	if !ok {
		return ""
	}
	return to
}

// adviceNoFastCGI is for a port of FastCGI that has never answered. php-fpm logs whom it
// refuses; a server that speaks HTTP would mostly answer something.
const adviceNoFastCGI = "Look at the log of what listens on {address} at this time: php-fpm's says whether it refused this client (listen.allowed_clients), or what became of its worker; a script that prints nothing ends so, too: another one by hand (cgi-fcgi -bind -connect {address}) is answered then. If it has nothing of this, look what listens there (docker ps, ss -ltnp on its machine): a published Docker port behind which nobody listens closes at once, too, and what is no FastCGI server wants another port or transport (reverse_proxy without FastCGI for one that speaks HTTP)."

// What mostly ends a connection at once.
const (
	handsOn   = "nothing works behind it (a published Docker port, a tunnel or a balancer whose target is gone)"
	tlsPort   = "it speaks TLS (https://)"
	otherPort = "it wants something else than HTTP/1.1 (FastCGI: php_fastcgi; HTTP/2 alone: h2c://; uwsgi; a PROXY header first: proxy_protocol)"
	otherTold = "it wants something else than HTTP/1.1 (FastCGI: php_fastcgi; HTTP/2 alone: h2c://; uwsgi)" // where a PROXY header is sent
)

// What a port's number speaks for.
const (
	onTLSPort     = "Write https:// in front of the upstream: this port mostly speaks TLS."
	onFastCGIPort = "Use php_fastcgi: this port is mostly php-fpm's."
	onUWSGIPort   = "Let uwsgi listen with http-socket: this port is mostly that of its own protocol."
	onAJPPort     = "Use the port of Tomcat's HTTP connector: this one mostly speaks AJP."
	onOtherPort   = "Use the application's own port: this one is mostly that of a database, a queue or a mail server."
)

// kindOf says what the upstream's port mostly is, "" where its number says nothing.
func kindOf(a *listen.Attempt) string {
	_, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		return ""
	}
	switch port {
	case "443", "2376", "4443", "5001", "5986", "6443", "8006", "8443", "9200", "9443", "10250", "10443":
		return onTLSPort
	case "9000", "9001":
		return onFastCGIPort
	case "3031":
		return onUWSGIPort
	case "8009":
		return onAJPPort
	case "25", "110", "143", "465", "587", "993", "995", "1433", "1521", "3306", "33060", "5432", "5433", "5671", "5672",
		"6379", "6380", "9042", "9092", "9300", "11211", "27017":
		return onOtherPort
	}
	return ""
}

// usualLimits are the times that servers and balancers are given as their limits.
var usualLimits = []int{
	1, 2, 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 40, 45, 50, 55, 60, 75, 90, 100, 120, 150, 180, 240, 300, 350, 600, 900, 1200, 1800, 3600,
}

// nearLimit is the limit that may have ended what took so long: a server looks at its
// clock now and then, and needs a moment to end a worker.
func nearLimit(took time.Duration) (limit time.Duration, ok bool) {
	for _, seconds := range usualLimits {
		l := time.Duration(seconds) * time.Second
		if took >= l-20*time.Millisecond && took <= l+min(max(l/20, 150*time.Millisecond), 1100*time.Millisecond) {
			return l, true
		}
	}
	return 0, false
}

// ownLimit is for a connection that the upstream ended after seconds: by a limit of its
// own, or because who worked on the request was ended.
func ownLimit(t *try, f finding, took time.Duration) finding {
	limit, near := nearLimit(took)
	if near = near && t.protocol != protocolFastCGI; near { // php-fpm looks only three times in its limit
		f.evidence = append(f.evidence, "that is about "+ms(limit)+", a time which is often set as a limit")
	}
	if !near {
		limit = 0
	}
	return f.advise(limitAdvice(t, limit, took)).leavesOpen(openLimit(t))
}

// openLimit is what looks the same where an end after a time is all that is known. Who has
// said something in HTTP neither waits for more nor speaks another protocol.
func openLimit(t *try) string {
	const tell = " look the same from here: the logs there tell, where they log it"
	switch {
	case t.HasAnswer() || t.FirstByte > 0:
		return "a limit of the upstream's own, one on the way, and a killed or crashed worker" + tell
	case spokeHTTP(t.Attempt) || t.again != 0:
		return "a limit of the upstream's own, one on the way, a killed or crashed worker, and a target behind it that can't be reached" + tell
	}
	return "a limit of the upstream's own, one on the way, a killed or crashed worker, a target that can't be reached, and a port that waits for more" + tell
}

// endedAfter is for an answer that was cut off: after a time that is often set as a limit
// it is that which the advice speaks of.
func endedAfter(t *try, f finding) finding {
	took := elapsed(sent(t), t.end)
	if t.protocol == protocolFastCGI && took >= time.Second {
		f.evidence = append(f.evidence, "it ended "+ms(took)+" after the connect")
		return f.advise(limitAdvice(t, 0, took)).leavesOpen(openLimit(t))
	}
	limit, near := nearLimit(took)
	if !near || limit < 2*time.Second {
		return endedIdle(t, f)
	}
	f.evidence = append(f.evidence, "it ended "+ms(took)+" after the request was sent: about "+ms(limit)+", a time which is often set as a limit")
	return f.advise(limitAdvice(t, limit, took)).leavesOpen(openLimit(t))
}

// endedIdle is for an answer that was cut off when nothing of it had come for a time that is
// often set as a limit, as events are that come seldom. Who waits for the client hears nothing.
func endedIdle(t *try, f finding) finding {
	silent := elapsed(t.Body.Last, t.end)
	limit, near := nearLimit(silent)
	if t.Body.Last == 0 || !near || limit < 2*time.Second || t.client == nil || t.client.Writing > silent/4 {
		return f
	}
	f.evidence = append(f.evidence, "nothing of it had come for "+ms(silent)+" when it ended: about "+ms(limit)+", a time which is often set as a limit")
	return f.advise(strings.Replace(adviceEndedIdle, "{about}", strconv.Itoa(int(limit/time.Second))+" s", 1)).leavesOpen(openLimit(t))
}

// adviceEndedIdle is for a limit on how long nothing may come.
const adviceEndedIdle = "Look for a limit of {about} without a byte at the upstream or on the way (server.timeout of Node, idleTimeout of Bun, the idle timeout of a balancer or a tunnel), and let the application send something more often: in an event stream a line with a colon alone. Else look for a killed worker."

// limitAdvice names the limits of servers which end a request after so long; limit is 0
// where it is near none.
func limitAdvice(t *try, limit, took time.Duration) string {
	about := ms(took)
	if limit > 0 {
		about = strconv.Itoa(int(limit/time.Second)) + " s"
	}
	never := t.Before != nil && t.Before.Answers == 0
	switch {
	case t.protocol == protocolFastCGI:
		return "Look at the log of php-fpm at this time: request_terminate_timeout, if it is set to less than " + about + " (\"execution timed out\"), a crash, or a worker that was killed for its memory (compare memory_limit with what the machine has)."
	case limit == 4*time.Second && never && !t.TLS:
		return "Let uwsgi listen with http-socket instead of socket, if it is one: its own protocol waits 4 s for more of what it takes for a packet. Else look for a limit of 4 s at the upstream (WriteTimeout of a Go server logs nothing)."
	case never && limit != 30*time.Second:
		return "Look at the log of what listens on {address} at this time: it has never answered, and ended this after " + about + ". That may be a limit of " + about + " (WriteTimeout of a Go server logs nothing), a killed worker, a balancer or tunnel that tried so long to reach what it hands on to, or a port of another protocol that waited for more."
	case limit == 30*time.Second:
		return "Look for a limit of 30 s at the upstream: gunicorn's --timeout is 30 s unless it is set (its log says WORKER TIMEOUT); WriteTimeout of a Go server logs nothing; else for a killed worker."
	case limit == 60*time.Second:
		return "Look for a limit of 60 s at the upstream or on the way: a balancer's idle timeout (60 s is AWS's), HAProxy's, WriteTimeout of a Go server, which logs nothing; else for a killed worker."
	case limit == 240*time.Second, limit == 350*time.Second:
		return "Look for an idle timeout of " + about + " on the way: Azure's load balancer has 240 s, AWS's Network Load Balancer 350 s. Send something now and then, or answer sooner; else look for a limit of the server's own."
	case limit > 0:
		return "Look for a limit of " + about + " at the upstream: WriteTimeout of a Go server, which logs nothing, --timeout of gunicorn, server.timeout of Node, a balancer's on the way; else for a killed worker."
	}
	return "Look for a limit of the upstream's own below " + about + ": WriteTimeout of a Go server, which logs nothing and shows only when the handler is done, or a worker that was killed for its time or its memory; else for a crash in its log."
}
