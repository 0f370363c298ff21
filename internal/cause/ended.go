package cause

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// Who ended a connection: only what the peer ended is the peer's doing.

// Records of TLS, by their first byte (RFC 8446 section 5.1). Since 1.3 all but the
// handshake's look like data: an alert has 2 bytes, and some 22 around them.
const (
	recordAlert = 0x15
	recordData  = 0x17
	mostAlert   = 64
)

// byPeer says that it was the peer, or somebody on the way, who ended the connection on
// which err came up. Where nobody listened to it, nothing denies that.
func byPeer(t *try, err error) bool {
	switch errnoOf(err) {
	case syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED:
		return true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err != nil && innermost(err) == textServerClosed {
		return true
	}
	c := t.Connection
	if c == nil || c.Link == nil {
		return true
	}
	if c.Link.End != listen.EndOurs {
		return c.Link.End != listen.EndLost
	}
	// A peer that closes over TLS says so in a record of its own, and our side may end
	// the connection upon that. On a new one others come before it.
	return c.Carried != nil && c.Carried.Encrypted && (!c.Reused || saidClose(c.Carried))
}

// peersEnd says how the peer ended a connection that our side closed upon it: the error is
// that of our own end then.
func peersEnd(t *try, err error) []string {
	if !errors.Is(err, net.ErrClosed) || t.Connection == nil || t.Connection.Link == nil {
		return nil
	}
	switch t.Connection.Link.End {
	case listen.EndClosed:
		return []string{"the upstream closed the connection, and Caddy's side closed it upon that"}
	case listen.EndReset:
		return []string{"the upstream reset the connection, and Caddy's side closed it upon that"}
	}
	return nil
}

// saidClose says that nothing came over TLS that isn't as long as an alert: a peer that
// asks to negotiate again, or sends something unasked, shows there.
func saidClose(c *listen.Carried) bool {
	if len(c.Head) == 0 {
		return true // it came before the request had the connection
	}
	return c.Head[0] == recordAlert || c.Head[0] == recordData && c.Received <= mostAlert
}

// ours says that our own side ended what the attempt's error speaks of: the connection,
// or the request's stream on it.
func ours(t *try) bool {
	if t.err == nil {
		return false
	}
	if stream, ok := errors.AsType[http2.StreamError](t.err); ok {
		return stream.Code == http2.ErrCodeCancel && (stream.Cause == nil || stream.Cause.Error() != textFromPeer)
	}
	switch {
	case layer(t.err, textH3Cancelled) != "", layer(t.err, textH3NoError) != "", t.text() == textForceClosed:
		return true
	case !errors.Is(t.err, net.ErrClosed):
		return false
	case t.Connection != nil && t.Connection.Link != nil:
		end := t.Connection.Link.End
		return end == listen.EndOurs || end == listen.EndNone
	}
	return errnoOf(t.WriteErr) == 0
}

// textForceClosed is HTTP/2's, of a connection that our side closed whatever went on.
const textForceClosed = "http2: client connection force closed via ClientConn.Close"

// endedByUs is what is known where our side ended the connection, and nothing tells why.
func endedByUs(t *try) finding {
	if t.Connection != nil && t.Connection.Link != nil && t.Connection.Link.End == listen.EndLost {
		return found(ConnectionLost).at(reached(t.Attempt))
	}
	evidence := "Caddy's own side ended it; the upstream had not"
	if t.Connection != nil && t.Connection.Carried != nil && t.Connection.Carried.Encrypted {
		evidence = "Caddy's own side closed the connection, upon something that came over it and was no answer"
	}
	f := found(Unknown, evidence).at(reached(t.Attempt))
	f.summary = "Caddy's own side ended the connection to {upstream}, and nothing tells why."
	return f
}

// endCause is that of a request which Go's transport repeated by itself, because its
// connection died some time after it: its error was not heard, the end of the connection
// was.
func endCause(t *try) finding {
	c := t.Connection
	if c == nil || c.Link == nil {
		return nothing
	}
	switch {
	case c.Link.End == listen.EndLost:
		return found(ConnectionLost)
	case c.Link.End == listen.EndReset:
		return endedUnanswered(t, found(ResetBeforeResponse))
	case c.Link.End == listen.EndClosed, c.Link.End == listen.EndOurs: // TLS's own end, see byPeer
		return closedCause(t)
	}
	return nothing
}

// earlyTexts are what a transport says of a body that ended before its length.
var earlyTexts = []string{textOtherLength, "http2: request body shorter than specified content length"}

// isOfBody says that err is other, whatever is around it: what net/http wraps an error of
// a request's body in doesn't unwrap.
func isOfBody(err, other error) bool {
	return err != nil && other != nil && (errors.Is(err, other) || innermost(err) == innermost(other))
}

// bodyUnsendable says that err is about the request's body, which could not be read.
func bodyUnsendable(err error) bool {
	if err == nil {
		return false
	}
	text := innermost(err)
	if isOfBody(err, http.ErrBodyReadAfterClose) || text == textBodyClosedH2 {
		return true
	}
	for _, early := range earlyTexts {
		if strings.HasPrefix(text, early) {
			return true
		}
	}
	return false
}

// sendingFailed says that the request's body could not be read for sending before the
// answer broke off: the transport ends its own connection then. A peer over TLS may hear
// that and close, too, so that its end is read first; HTTP/2 hands the error on.
func sendingFailed(h *listen.Heard, t *try) bool {
	for _, err := range [...]error{t.err, t.WriteErr} {
		if err != nil && (bodyUnsendable(err) || isOfBody(err, h.Client.BodyErr)) {
			return true
		}
	}
	return false
}

// cutUpload: Go's server of HTTP/1 stops reading a request's body once the answer begins,
// unless it was told to go on. The transport can't send the rest then, and ends the
// connection over which the answer comes.
func cutUpload(h *listen.Heard, t *try) finding {
	if !bodyUnsendable(t.err) && !bodyUnsendable(t.WriteErr) && !bodyUnsendable(h.Client.BodyErr) {
		return nothing
	}
	f := found(UploadCutByEarlyResponse,
		"Caddy stopped reading the upload when the answer had begun: "+bodyRead(t.Attempt)+" bytes of it had been read",
		"Caddy's own side ended it; the upstream had not")
	if t.Status < http.StatusBadRequest { // by which nobody refuses
		return f.leavesOpen("whether the application, or a server in front of it, means to answer before the upload's end, or failed early, can't be told from here: its log tells")
	}
	return f
}

// bodyRead is how many bytes were read of the request's body, and of how many.
func bodyRead(a *listen.Attempt) string {
	read := strconv.FormatInt(max(a.RequestBytes, 0), 10)
	if a.Request != nil && a.Request.ContentLength > 0 {
		return read + " of " + strconv.FormatInt(a.Request.ContentLength, 10)
	}
	return read
}

// repeated says that an answer was thrown away, because lb_retry_match had the request
// tried again.
func repeated(h *listen.Heard, a *listen.Attempt) bool {
	if !a.HasAnswer() || a.Limits == nil || !a.Limits.RetriesAnswers || a.Status < http.StatusBadRequest && !unpassable(a) {
		return false
	}
	for i := range h.Attempts[:max(0, len(h.Attempts)-1)] {
		if &h.Attempts[i] == a {
			return h.Attempts[i+1].Limits == a.Limits
		}
	}
	return false
}

// thrownAway is the cause of an answer that lb_retry_match did not let pass.
func thrownAway(a *listen.Attempt) finding {
	f := portSays(a)
	if !f.is() {
		f = answerCause(a)
	}
	f.evidence = append(f.evidence, "lb_retry_match had the request tried again")
	return f
}

// lostBody says that an attempt repeats a request whose body had been used up by the one
// before: its reading ended where the other's had not, or before its length.
func lostBody(h *listen.Heard, a *listen.Attempt) bool {
	if a.RequestErr == nil {
		return false
	}
	used := int64(0)
	for i := range h.Attempts {
		before := &h.Attempts[i]
		if before == a {
			break
		}
		if before.Limits == a.Limits || insteadOf(h, a, before) {
			used = max(used, before.RequestBytes)
		}
	}
	length := int64(-1)
	if a.Request != nil {
		length = a.Request.ContentLength
	}
	return used > 0 && (a.RequestBytes < used || a.RequestBytes < length) && (a.RequestErr == io.EOF || !canceled(a.RequestErr))
}

// insteadOf says that an attempt asks for what another reverse_proxy had asked for in vain
// before, by a handle_response or by a route for errors. What asks by another method, as
// forward_auth does, asks for something else; so does what follows an answer that is none
// of an error's.
func insteadOf(h *listen.Heard, a, before *listen.Attempt) bool {
	return before.Limits != a.Limits && a.Request != nil && before.Request != nil && a.Request.Method == before.Request.Method &&
		(failed(h, before) || before.Status >= http.StatusBadRequest)
}

// firstLoser is the attempt that used up the body which a lacks.
func firstLoser(h *listen.Heard, a *listen.Attempt) *listen.Attempt {
	for i := range h.Attempts {
		before := &h.Attempts[i]
		if before == a {
			break
		}
		if before.Limits == a.Limits && before.RequestBytes > 0 && (failed(h, before) || repeated(h, before)) {
			return before
		}
	}
	return nil
}

// usedUp says what became of a request's body.
func usedUp(before *listen.Attempt) string {
	return "tried again without its body, of which " + bodyRead(before) + " bytes had been read for the attempt before"
}

// lostAs is the cause of the attempt that used the body up.
func lostAs(h *listen.Heard, before *listen.Attempt) string {
	if repeated(h, before) {
		return thrownAway(before).row.Name
	}
	return attemptCause(tryOf(h, before)).row.Name
}

// judgeRepeat: the last attempt could not be sent, because the body had been used up by
// one before, whose failure it is.
func judgeRepeat(h *listen.Heard, last *listen.Attempt) (verdict, bool) {
	if !lostBody(h, last) || !bodyless(tryOf(h, last)) {
		return verdict{}, false
	}
	before := firstLoser(h, last)
	if before == nil {
		return verdict{}, false
	}
	var v verdict
	if repeated(h, before) {
		v = verdict{failure.Failed, h.ErrStatus, before, thrownAway(before), nil}
	} else {
		t := tryOf(h, before)
		f := attemptCause(t)
		v = verdict{failure.Failed, statusOf(f.row, h.ErrStatus), before, f, t.err}
	}
	v.finding.evidence = append(v.finding.evidence, usedUp(before)+"; request_buffers would have kept it")
	return v, true
}

// judgeBodyless: the repeat had no body, and was answered.
func judgeBodyless(h *listen.Heard, last *listen.Attempt) verdict {
	f := found(RetriedWithoutBody, "the upstream answered "+strconv.Itoa(last.Status)+" to a request without its body; what it would have answered to the whole one is not known")
	if before := firstLoser(h, last); before != nil {
		f.evidence = append(append(f.evidence, usedUp(before)+", which ended as "+lostAs(h, before)), buffersLine(last)...)
		f = f.leavesOpen("why the attempt before failed (the application, or a server in front of it), and whether it had been carried out, can't be told from here: their logs tell; what must not be done twice is best not tried again")
		if sentBy(before) == failure.SentNo {
			f = f.advise(adviceBufferRefused).leavesOpen("the attempt before was not carried out; why it was refused can't be told from here: the server's log tells")
		}
	} else if used := usedElsewhere(h, last); used != "" {
		f.evidence = append(f.evidence, used)
		f = f.advise(adviceAskElsewhere)
	}
	outcome := failure.Rescued
	if last.Status >= http.StatusBadRequest {
		outcome = failure.UpstreamAnswered
	}
	return verdict{outcome, h.Response.Status, last, f, nil}
}

// adviceBufferRefused is for a request that nobody had begun to carry out.
const adviceBufferRefused = "Set request_buffers to more than such a body has: only a body that is buffered can be sent again, and this request may be, for the attempt before was not carried out. Why it was refused the server's log says."

// usedElsewhere says which other reverse_proxy had used up the body that an attempt lacks,
// "" where none had.
func usedElsewhere(h *listen.Heard, a *listen.Attempt) string {
	for i := range h.Attempts {
		before := &h.Attempts[i]
		if before == a {
			break
		}
		if before.RequestBytes > 0 && insteadOf(h, a, before) {
			return bodyRead(before) + " bytes of its body had been read for " + failure.Visible(cut(before.Upstream, maxAddress)) + ", by the reverse_proxy before this one"
		}
	}
	return ""
}

// usedBefore says that a request's body was at its end, or closed, before anything of it was
// read: no client can do that to a body whose length it has announced. HTTP/2's transport
// itself closes one when it goes on to another connection.
func usedBefore(a *listen.Attempt) bool {
	return a.RequestBytes == 0 && !strings.HasPrefix(a.Protocol, "h2") && a.Request != nil && a.Request.ContentLength > 0 && a.Err != nil && a.FirstByte == 0 &&
		(a.RequestErr == io.EOF || errors.Is(a.RequestErr, http.ErrBodyReadAfterClose) && bodyUnsendable(a.Err))
}

// adviceAskElsewhere is for a reverse_proxy in handle_response or handle_errors: Caddy gives
// each the body that came, and no buffer of another's.
const adviceAskElsewhere = "Ask another upstream from handle_response or handle_errors only for what has no body (a matcher with method GET HEAD); what has one can be tried again within one reverse_proxy alone, by lb_retry_match and request_buffers."

// textCannotRewind is Go's transport's, where it would have tried again by itself.
const textCannotRewind = "net/http: cannot rewind body after connection loss"

// bodyless says that the attempt's error is that of a body which had been used up.
func bodyless(t *try) bool {
	if t.err == nil || t.FirstByte > 0 {
		return false
	}
	return bodyUnsendable(t.err) || t.text() == textCannotRewind || t.RequestErr != nil && t.RequestErr != io.EOF && innermost(t.err) == innermost(t.RequestErr)
}

// bodylessCause: the client's body broke off, or the request was tried again and its body
// could not be. Over HTTP/2 Go's transport tries again by itself, on another connection.
func bodylessCause(t *try) finding {
	switch {
	case t.err == nil || t.FirstByte > 0:
		return nothing
	case t.client != nil && uploadExplains(t.client) && t.WriteErr != nil &&
		(isOfBody(t.WriteErr, t.client.BodyErr) || isOfBody(t.err, t.client.BodyErr)):
		return uploadFailed(t)
	case !bodyless(t):
		return nothing
	case t.bodyless && t.usedElsewhere != "":
		return found(RetriedWithoutBody, t.usedElsewhere).advise(adviceAskElsewhere)
	case t.bodyless:
		return found(RetriedWithoutBody, "the body had been read for the attempt before")
	case t.text() == textCannotRewind:
		return found(RetriedWithoutBody, "the connection took no more requests; on another one the body could not be sent again")
	case isHTTP2(t) && (errors.Is(t.err, http.ErrBodyReadAfterClose) || t.text() == textBodyClosedH2):
		return found(RetriedWithoutBody, "a connection took no more requests, and the transport had closed the body when it went on to another")
	}
	return nothing
}

// textManyInterim is what the transports say of interim answers without end.
const textManyInterim = "too many 1xx informational responses"

func manyInterim() finding {
	f := found(Unknown, "more interim answers (1xx) came than Caddy's transport takes, and no final one").at(failure.PhaseHeaders)
	f.summary = "{upstream} sent more interim answers (1xx) than Caddy takes, and no final one."
	return f.advise("Let the application send its answer after few interim ones (100, 102, 103).").
		leavesOpen("whether the application or a server in front of it sends them can't be told from here: asking the application directly tells")
}

// goawayCause adds how many requests a connection had carried when it was ended: a server
// that ends each after a number of them has not stopped.
func goawayCause(t *try, evidence ...string) finding {
	f := found(Goaway, append(evidence, workedBefore(t)...)...)
	if t.FirstByte == 0 && !t.HasAnswer() {
		f.summary = "{upstream} ended the whole connection (GOAWAY) without an answer to this request."
	}
	c := t.Connection
	if age, young := youngConnection(t); young {
		words := "the connection had carried no request before"
		if c.Link != nil { // else when it was opened is not known
			words = "the connection was " + ms(age) + " old, and had carried no request before"
		}
		f.evidence = append(f.evidence, words)
		switch {
		case sentBy(t.Attempt) != failure.SentNo:
			return f.advise(adviceGoawayAtOnce).leavesOpen("a server or a box in between that stops, that is overloaded, that ends each connection so, or that failed upon this request, look the same from here: its log tells")
		case t.RequestBytes > 0:
			f = f.advise(adviceGoawayAtOnce + adviceSendAgain)
		default:
			f = f.advise(adviceGoawayAtOnce)
		}
		return f.leavesOpen("a server or a box in between that stops, that is overloaded, or that ends each connection so, look the same from here: its log tells")
	}
	if c == nil || c.Link == nil || c.Link.Requests == 0 {
		return f
	}
	f.evidence = append(f.evidence, fmt.Sprintf("the connection had carried %s before, in %s", counted(int64(c.Link.Requests), "request"), ms(elapsed(c.Link.Opened, t.end))))
	if c.Link.Requests < manyRequests {
		return f
	}
	if t.RequestBytes >= 0 && refusedUnprocessed(t.err) {
		f.side = failure.SideProxy
		return f.advise(adviceManyRequestsPost)
	}
	return f.advise(adviceManyRequests)
}

// youngConnection says how old a connection of this attempt's own was, where it was too
// young for any limit on its age, and had carried nothing.
func youngConnection(t *try) (age time.Duration, young bool) {
	c := t.Connection
	if c == nil || c.Reused || c.WasIdle || c.Link != nil && c.Link.Requests > 0 {
		return 0, false
	}
	opened := c.At
	if c.Link != nil && c.Link.Opened < opened {
		opened = c.Link.Opened
	}
	age = elapsed(opened, t.end)
	return age, age < time.Second
}

// adviceGoawayAtOnce is for a connection that was ended when it was new.
const adviceGoawayAtOnce = "Look at the log of the server at {upstream} at this time for why it ended a connection that was new. If it was being stopped or restarted then, let it close its port before it ends connections."

// manyRequests is from how many requests on a connection its end is rather put down to a
// limit of theirs than to a restart.
const manyRequests = 10

const (
	adviceManyRequests     = "Raise the number of requests or the age after which the upstream ends a connection (keepalive_requests of nginx); if it was restarted, let it finish what runs."
	adviceManyRequestsPost = "Set request_buffers, lb_retries and lb_retry_match { method POST }, so that Caddy sends it again when the upstream ends a connection after a number of requests (keepalive_requests of nginx) or an age."
)

// mostlyClient says that most of a time was spent waiting for the client, and long enough
// for a worker to be missed.
func mostlyClient(waited, total time.Duration) bool {
	return waited >= leastSlow && waited > total/4*3
}

// leastSlow is how long a client must at least have been waited for to be called slow.
const leastSlow = 500 * time.Millisecond

// holdsWell is how large a body may be that Caddy is advised to hold in memory, as it does
// with request_buffers and response_buffers.
const holdsWell = 16 << 20

// slowUpload blames a client that sends slowly for a worker that was ended meanwhile.
func slowUpload(t *try, f finding) finding {
	if total := elapsed(sendStart(t), t.end); mostlyClient(t.Uploading, total) {
		f.evidence = append(f.evidence, uploadLine(t, total))
		f.side = failure.SideProxy
		advice := "Set request_buffers, so that Caddy takes a slow upload first: the upstream's worker was held by a client that sends slowly, until it was ended."
		if t.Request == nil || t.Request.ContentLength < 0 || t.Request.ContentLength > holdsWell {
			advice = "Raise the limit that ended it at {upstream} to more than a slow client takes for such an upload (ReadTimeout of a Go server, which logs nothing; client_body_timeout of nginx; --timeout of gunicorn). For uploads that Caddy may hold in memory, request_buffers of more than their size frees the upstream's worker instead."
		}
		return f.advise(advice)
	}
	return f
}

// uploadLine says how long the client was waited for while a request was being sent.
func uploadLine(t *try, total time.Duration) string {
	return "of the " + ms(total) + " of sending, Caddy waited " + ms(min(total, t.Uploading)) + " for the client"
}

// downloadLine says how long each side was waited for while an answer came.
func downloadLine(t *try) string {
	total := elapsed(t.Answered, t.end)
	return "of the " + ms(total) + " of the answer, Caddy waited " + ms(min(total, t.client.Writing)) + " for the client, " + ms(t.Body.Reading) + " for the upstream"
}

// slowlyTaken finds the cause where read_timeout ran out while the client was waited for:
// over HTTP/2 it counts for the connection, from the last frame that came, and FastCGI's
// client sets it once. Over HTTP/1.1 it is set for each read, that Caddy waits for.
func slowlyTaken(t *try, limit *failure.Limit) finding {
	if limit == nil || limit.ValueMS == nil || t.Answered == 0 || t.Body.Reading >= limit.ValueMS.Duration()/4*3 || t.client.Writing < limit.ValueMS.Duration()/2 {
		return nothing
	}
	f := found(ResponseStalled, downloadLine(t), "read_timeout also counts while the client is waited for, here").within(limit)
	f.summary = "The client took the answer of {upstream} more slowly than {limit} allows."
	f.side = failure.SideProxy
	return f.advise("Raise read_timeout in the transport to more than a slow client may pause, or set response_buffers to more than the answer's size, so that Caddy takes it first: the upstream was not what was waited for.").
		leavesOpen(openSlowClient)
}

// openSlowClient is what can't be told of a client that is waited for.
const openSlowClient = "whether the client, its network, or a proxy in front is slow can't be told from here: the log of what stands in front tells"

// slowDownload does so for a client that takes the answer slowly.
func slowDownload(t *try, f finding) finding {
	if total := elapsed(t.Answered, t.end); t.Answered > 0 && mostlyClient(t.client.Writing, total) {
		f.evidence = append(f.evidence, downloadLine(t))
		f.side = failure.SideProxy
		advice := "Set response_buffers to more than the answer's size, so that the upstream's worker is not held by a client that takes it slowly, until it is ended."
		if t.Body.Expected < 0 || t.Body.Expected > holdsWell {
			advice = "Raise the limit that ended it at {upstream} to more than a slow client takes for such an answer (WriteTimeout of a Go server, which logs nothing; send_timeout of nginx; --timeout of gunicorn). For answers that Caddy may hold in memory, response_buffers of more than their size frees the upstream's worker instead."
		}
		if took := elapsed(sent(t), t.end); took > 0 {
			f.evidence = append(f.evidence, "it ended "+ms(took)+" after the request was sent")
		}
		return f.advise(advice)
	}
	return f
}

var UploadCutByEarlyResponse = &Row{
	Name: "upload_cut_by_early_response", Category: failure.CategoryInterrupted, ProxyError: "proxy_internal_error",
	Phase: failure.PhaseBody, Side: failure.SideProxy,
	Summary:      "Caddy stopped reading the client's upload when it passed on the answer of {upstream}, which had begun before the upload ended, and closed the connection to it.",
	Advice:       "Set enable_full_duplex in the global option servers, let clients use HTTP/2, or set request_buffers so that the upload ends before the answer begins. If the application did not mean to answer so early, its log at this time says why it did.",
	Meaning:      "The upstream answered while the request's body was still being sent to it. Over HTTP/1.1 Go's server stops reading a body once the answer begins; the rest could not be sent, and Caddy's transport closed the connection over which the answer came. The client has a part of it.",
	RecognisedBy: "The connection was closed by this side while the answer came, because the request's body could not be read any more, and the client was still there. The evidence says how much of the upload had been read.",
	Witnesses:    []Witness{WitnessError},
	Undecided:    "whether the application, or a server in front of it, means to answer before the upload's end, or refuses or fails early, can't be told from here: its log tells",
	UsualReasons: []string{
		"an application that streams its answer while it reads: progress of an upload, a converter, a tunnel of messages over one request",
		"an application that answers before it has read the upload, and goes on answering",
	},
	Fix: Fix{
		Caddy:       "Let HTTP/1.1 read and write at the same time; over HTTP/2 and 3 it does. request_buffers reads the upload first.",
		Caddyfile:   "{\n\tservers {\n\t\tenable_full_duplex\n\t}\n}",
		Docker:      nothingToChange,
		Application: "Read the whole request before answering, or answer in few words and close.",
	},
	Rivals: []Rival{
		{"response_truncated", "this side closed the connection; the upstream had not"},
		{"client_upload_failed", "reading the upload failed because Caddy's server had closed it, not the client; and an answer had begun"},
		{"client_closed_request", "the client was still there"},
		{"request_write_failed", "this side closed the connection; and an answer had begun"},
	},
}

var RetriedWithoutBody = &Row{
	Name: "retried_without_body", Category: failure.CategoryInterrupted, ProxyError: "proxy_internal_error",
	Phase: failure.PhaseSend, Side: failure.SideProxy,
	Summary:      "The request could not be sent whole again to {upstream}: its body had been used up.",
	Advice:       "Take such requests out of lb_retry_match, if what they do must not be done twice; else set request_buffers to more than such a body has: only a body that is buffered can be sent again.",
	Meaning:      "A first attempt failed after some of the request's body had been read. The request was tried again, and what had been read could not be: the repeat had no body, or only the rest of it. What the upstream answered to that is no answer to the client's request.",
	RecognisedBy: "An attempt had read from the body before, of the same reverse_proxy or of one whose error another was asked to replace, and this one's reading ended before as much of it, or before its length. Or Go's transport says that it could not send the body again on another connection.",
	Witnesses:    []Witness{WitnessPast, WitnessError},
	UsualReasons: []string{
		"lb_retry_match with method POST or PUT, without request_buffers",
		"a second reverse_proxy in handle_response or handle_errors, for a request with a body",
		"request_buffers that is smaller than the body",
		"an upstream that ends HTTP/2 connections after a number of requests, so that Go's transport changes to another",
	},
	Fix: Fix{
		Caddy:       "Buffer the request's body, so that each attempt sends all of it.",
		Caddyfile:   inProxyTo("app1:8080 app2:8080", "request_buffers 1MiB", "lb_retries 2", "lb_retry_match {", "\tmethod POST", "}"),
		Docker:      nothingToChange,
		Application: "Let clients send an Idempotency-Key, so that they can try again by themselves.",
	},
	Rivals: []Rival{
		{"client_upload_failed", "this side had closed the body; reading from the client had no error before"},
		{"request_not_sendable", "an attempt before had used the body up"},
		{"upstream_status", "the request that was answered was not the client's: its body was missing"},
		{"goaway", "the connection that was lost is not what failed in the end: the body is"},
	},
}
