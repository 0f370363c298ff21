package faultlab

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// What other protocols say.
const (
	sshBanner       = "SSH-2.0-OpenSSH_9.9\r\n"
	smtpBanner      = "220 mail.example.test ESMTP ready\r\n"
	redisError      = "-ERR unknown command 'GET', with args beginning with: \r\n"
	postgresError   = "E\x00\x00\x00\x25SFATAL\x00C08P01\x00Mbad startup packet\x00\x00"
	http2Settings   = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
	nginxPlainToTLS = "The plain HTTP request was sent to HTTPS port"
)

func headersFaults() []Fault {
	failed := func(name, number, cause, side string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "headers", Side: side, Outcome: "failed", Status: 502,
			Start: start,
		}
	}
	answered := func(name, number, cause, side string, status int, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number,
			Cause: cause, Phase: "headers", Side: side, Outcome: "upstream_answered", Status: status,
			Start: start,
		}
	}
	const line, length = "HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n"
	faults := []Fault{
		failed("cut_after_first_byte", "18", "response_cut_in_headers", "upstream", overTCP(answers("H"))),
		failed("cut_in_status_line", "18", "response_cut_in_headers", "upstream", overTCP(answers("HTTP/1.1 20"))),
		failed("cut_after_status_line", "18b", "response_cut_in_headers", "upstream", overTCP(answers(line))),
		failed("cut_between_headers", "18b", "response_cut_in_headers", "upstream", overTCP(answers(line+length))),
		failed("cut_in_header", "18", "response_cut_in_headers", "upstream", overTCP(answers(line+length+"Content-Ty"))),
		// Over TLS nothing tells a line that was cut from one that is malformed.
		failed("cut_in_header_tls", "18", "unknown", "", overTLS(answers(line+length+"Content-Ty"))),
		failed("cut_in_status_line_tls", "18", "unknown", "", overTLS(answers("HTTP/1.1 20"))),
		failed("header_without_colon_tls", "20", "response_malformed", "upstream", overTLS(answers(line+"no colon here\r\n\r\n"))),
		failed("reset_between_headers", "18b", "response_cut_in_headers", "upstream", overTCP(resetsAfter(line+length))),
		failed("reset_in_header", "18", "response_cut_in_headers", "upstream", overTCP(resetsAfter(line+length+"Content-Ty"))),
		{
			Name: "stalled_in_headers", Number: "22",
			Cause: "response_timeout", Phase: "headers", Side: "upstream", Outcome: "failed", Status: 504,
			Start: overTCP(stallsAfter(line+length), transport("response_header_timeout 200ms")),
		},

		failed("status_malformed", "19", "response_malformed", "upstream", overTCP(answers("HTTP/1.1 abc Wrong\r\n\r\n"))),
		// Go's client lets these pass, and no server of Go's passes them on.
		failed("status_000", "19", "response_malformed", "upstream", overTCP(answers("HTTP/1.1 000 Nothing\r\n"+length+"\r\nhello"))),
		failed("status_042", "19", "response_malformed", "upstream", overTCP(answers("HTTP/1.1 042 Answer\r\n"+length+"\r\nhello"))),
		failed("status_042_tls", "19", "response_malformed", "upstream", overTLS(answers("HTTP/1.1 042 Answer\r\n"+length+"\r\nhello"))),
		failed("status_1000", "19", "response_malformed", "upstream", overTCP(answers("HTTP/1.1 1000 Large\r\n"+length+"\r\nhello"))),
		failed("http_version_malformed", "19", "response_malformed", "upstream", overTCP(answers("HTTP/x.y 200 OK\r\n\r\n"))),
		failed("header_without_colon", "20", "response_malformed", "upstream", overTCP(answers(line+"no colon here\r\n\r\n"))),
		failed("header_with_nul", "20", "response_malformed", "upstream", overTCP(answers(line+"X-Bad: a\x00b\r\n\r\n"))),
		failed("header_without_name", "20", "response_malformed", "upstream", overTCP(answers(line+": value\r\n\r\n"))),
		failed("length_not_a_number", "20", "response_malformed", "upstream", overTCP(answers(line+"Content-Length: five\r\n\r\nhello"))),
		failed("length_negative", "20", "response_malformed", "upstream", overTCP(answers(line+"Content-Length: -5\r\n\r\nhello"))),
		failed("lengths_differ", "20", "response_malformed", "upstream", overTCP(answers(line+length+"Content-Length: 6\r\n\r\nhello"))),
		failed("transfer_coding_unknown", "20", "transfer_coding_invalid", "upstream", overTCP(answers(line+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"))),
		failed("headers_too_large", "21", "response_headers_too_large", "proxy",
			overTCP(answers(line+"X-Large: "+strings.Repeat("x", 16<<10)+"\r\n\r\n"), transport("max_response_header 4KiB"))),

		failed("speaks_ssh", "35", "not_http", "upstream", overTCP(answers(sshBanner))),
		failed("speaks_smtp", "35", "not_http", "upstream", overTCP(answers(smtpBanner))),
		// As these servers really do: Go's transport may read the banner before it
		// knows of a request, and then its error says nothing of what it read.
		failed("speaks_ssh_at_once", "35", "not_http", "upstream", overTCP(speaksFirst(sshBanner))),
		failed("speaks_smtp_at_once", "35", "not_http", "upstream", overTCP(speaksFirst(smtpBanner))),
		failed("speaks_redis", "35", "not_http", "upstream", overTCP(answers(redisError))),
		failed("speaks_postgres", "35", "not_http", "upstream", overTCP(answers(postgresError))),
		failed("speaks_http2", "35", "http_version_mismatch", "proxy", overTCP(answers(http2Settings))),
		failed("http_to_tls_alert", "10", "tls_expected", "proxy", overTCP(answers(string(alert(10))))),
		answered("http_to_tls_go", "10a", "tls_expected", "proxy", http.StatusBadRequest, startTLSServer),
		// It reads less than a browser sends, so that a reset follows its sentence.
		{
			Name: "http_to_tls_go_browser", Number: "10a",
			Cause: "tls_expected", Phase: "headers", Side: "proxy", Outcome: "truncated", Status: http.StatusBadRequest,
			Start: startTLSServerFor(browsers(http.MethodGet)),
		},
		answered("http_to_tls_apache", "10b", "tls_expected", "proxy", http.StatusBadRequest, overTCP(answers(apacheBadRequest()))),
		answered("http_to_tls_nginx", "10b", "tls_expected", "proxy", http.StatusBadRequest, overTCP(answers(nginxBadRequest()))),

		failed("upgrade_to_other", "33a", "upgrade_failed", "upstream", overTCP(
			answers("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"),
			sends(Request{Header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket"}}))),
		failed("upgrade_unasked", "33a", "upgrade_failed", "upstream", overTCP(
			answers("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))),

		// An answer like any other 4xx, though Caddy has it for a client that left.
		{Name: "answers_499", Number: "27", Status: 499, Start: overTCP(answers(status(499)), app(answersStatus(499)))},

		answered("answers_502", "27", "upstream_status", "upstream", 502, overTCP(answers(status(502)))),
		answered("answers_503", "27", "upstream_status", "upstream", 503, overTCP(answers(status(503)))),
		answered("answers_503_unix", "27", "upstream_status", "upstream", 503, overUnix(answers(status(503)))),
		answered("answers_503_tls", "27", "upstream_status", "upstream", 503, overTLS(answers(status(503)))),
		answered("answers_504", "27", "upstream_status", "upstream", 504, overTCP(answers(status(504)))),
		answered("answers_520", "27", "upstream_status", "upstream", 520, overTCP(answers(status(520)))),
	}
	for i := range faults {
		switch faults[i].Name {
		case "upgrade_to_other", "upgrade_unasked":
			faults[i].Status = http.StatusOK // Caddy leaves an empty answer
		case "speaks_ssh", "speaks_smtp", "speaks_ssh_at_once", "speaks_smtp_at_once", "http_to_tls_alert":
			faults[i].RequestSent = "no" // no HTTP application had it
		case "reset_between_headers", "reset_in_header":
			faults[i].Skip = unless(!onWindows, resetLosesData)
		case "answers_503_unix":
			faults[i].Skip = unless(!onWindows, needsUnixSockets)
		}
	}
	return faults
}

// good is an answer that leaves the connection open.
const good = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"

// status is an application's own answer.
func status(code int) string {
	const body = "the application's own words\n"
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nServer: lab\r\nRetry-After: 30\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		code, http.StatusText(code), len(body), body)
}

// nginxBadRequest is how nginx answers plain HTTP on a TLS port.
func nginxBadRequest() string {
	body := "<html>\r\n<head><title>400 " + nginxPlainToTLS + "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n" +
		"<center>" + nginxPlainToTLS + "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}

// apacheBadRequest is how Apache does.
func apacheBadRequest() string {
	body := "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n<title>400 Bad Request</title>\n</head><body>\n<h1>Bad Request</h1>\n" +
		"<p>Your browser sent a request that this server could not understand.<br />\n" +
		"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n" +
		" Instead use the HTTPS scheme to access this URL, please.<br />\n</p>\n<hr>\n<address>Apache/2.4.62 (Debian) Server at app Port 443</address>\n</body></html>\n"
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nServer: Apache/2.4.62 (Debian)\r\nContent-Length: %d\r\nConnection: close\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n%s", len(body), body)
}

// browsers are requests of the size that a browser's have.
func browsers(method string) Request {
	return Request{Method: method, Header: map[string]string{
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept":     "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Cookie":     "session=" + strings.Repeat("0123456789abcdef", 2<<10/16),
	}}
}

// answers reads a request, says reply, and closes in good order.
func answers(reply string) behaviour {
	return func(c *conn) {
		if _, err := c.request(); err == nil {
			c.say(reply)
		}
	}
}

// resetsAfter does so with a RST.
func resetsAfter(reply string) behaviour {
	return func(c *conn) {
		if _, err := c.request(); err == nil {
			c.say(reply)
			c.reset()
		}
	}
}

// stallsAfter says no more after reply, and keeps the connection.
func stallsAfter(reply string) behaviour {
	return func(c *conn) {
		if _, err := c.request(); err == nil {
			c.say(reply)
			c.hold()
		}
	}
}

// speaksFirst says banner before it has read anything, as servers of other
// protocols do.
func speaksFirst(banner string) behaviour {
	return func(c *conn) {
		c.say(banner)
		c.hold()
	}
}

// startTLSServer makes Go's own HTTPS server, which has a sentence for plain HTTP.
func startTLSServer() (*Upstream, error) { return startTLSServerFor(Request{})() }

// startTLSServerFor does so for a client that sends r.
func startTLSServerFor(r Request) func() (*Upstream, error) {
	return func() (*Upstream, error) { return tlsServer(sends(r)) }
}

func tlsServer(options ...option) (*Upstream, error) {
	_, certificate, err := newCertificate(nil)
	if err != nil {
		return nil, err
	}
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	u := newUpstream(options...)
	u.To = l.Addr().String()
	u.serveHTTP(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}}), http.NotFoundHandler())
	return u, nil
}

// serveHTTP starts Go's HTTP server on l, that u closes.
func (u *Upstream) serveHTTP(l net.Listener, h http.Handler) {
	u.runHTTP(l, &http.Server{Handler: h, ErrorLog: quiet()})
}

func (u *Upstream) runHTTP(l net.Listener, s *http.Server) {
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateActive {
			u.hasReached()
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // always returns an error, http.ErrServerClosed
	}()
	u.undo = append(u.undo, func() error { err := s.Close(); <-ended; return err })
}
