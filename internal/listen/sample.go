package listen

import (
	"net/http"
	"strings"
)

// Sample makes the request one of those of which something is kept also where it goes well.
// It must be said before the next handler is called.
func (l *Listener) Sample() { l.sampled = true }

// Sampled says that it is one.
func (l *Listener) Sampled() bool { return l.sampled }

// unnamed stands for an answer without a Server field.
var unnamed string

func serverOf(header http.Header) *string {
	values := header["Server"]
	if len(values) == 0 {
		return &unnamed
	}
	server := strings.Join(values, ", ")
	return &server
}

// EachWorked goes through the attempts of a sample that worked. The request must have gone
// well. Of the last one's connection no more is known than where it leads, and whether it
// had been used before.
func (l *Listener) EachWorked(do func(*Attempt)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.over {
		if a := &l.over[n]; a.Worked() {
			do(a)
		}
	}
	if l.current == nil || !l.current.Worked() {
		return
	}
	last := struct {
		Attempt
		Connection
	}{Attempt: l.current.Attempt}
	if conn := l.current.conn; l.current.at > 0 {
		last.Attempt.Connection = &last.Connection
		last.Reused = conn.Reused
		if conn.Conn != nil {
			last.RemoteAddress = addressOf(conn.Conn.RemoteAddr())
		}
	}
	do(&last.Attempt)
}

// Worked says of an attempt of a sample that it had an answer which is no server's error.
func (a *Attempt) Worked() bool {
	return a.Server != nil && a.Err == nil && a.Body.Err == nil && a.Status < http.StatusInternalServerError
}
