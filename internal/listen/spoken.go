package listen

import (
	"errors"
	"io"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// EndedByPeer says that a read or a write failed with err because the peer ended the
// connection.
func EndedByPeer(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || endOf(err).ByPeer()
}

// Told is what a Listener doesn't keep of an attempt, and who asks for nothing but that
// wants to know.
type Told struct {
	// Addresses are those that the name led to.
	Addresses []string
	// Handshake is what TLS tells, nil where there was none.
	Handshake *failure.Handshake
	// Server and Via are the answer's fields.
	Server, Via string
}

// Spoken is what came of speaking a protocol to an upstream over a connection that was made
// for it.
type Spoken struct {
	What failure.ProbeCheckName
	// Speaks says whether it is spoken there; nil where that can't be told.
	Speaks *bool
	// Status is that of an HTTP answer, 0 for none; Head is what came instead of what was
	// expected.
	Status int
	Head   []byte
	// Err ended it, nil for nothing.
	Err error
	// Handshake is what TLS tells, nil where there was none.
	Handshake *failure.Handshake
	// Took is how long it took, Patience how long it may have.
	Took, Patience time.Duration
}
