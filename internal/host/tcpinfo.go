package host

import "time"

// TCPInfo is what the kernel knows of a TCP connection, as far as it tells whether what
// was sent arrived.
type TCPInfo struct {
	// Unacknowledged is how many bytes that were sent the peer has not acknowledged.
	Unacknowledged int64
	// Unsent is how many bytes wait to be sent, because the peer, or the network, takes no
	// more of them now.
	Unsent int64
	// Acknowledged is how many it has, since the connection began; Received is how many
	// bytes came.
	Acknowledged, Received int64
	// Retransmits is how often the oldest of them has been sent again without an answer,
	// AllRetransmits counts all segments that were ever sent again.
	Retransmits, AllRetransmits int
	// OutOfOrder is how many packets ever came before others that belong in front of them.
	OutOfOrder int
	// SinceReceived is how long ago bytes came last, SinceAcknowledged how long ago any
	// sign of life of the peer's did.
	SinceReceived, SinceAcknowledged time.Duration
	// PeerClosed says that the peer has closed its side, whether anybody read that or not.
	PeerClosed bool
	// RoundTrip is the smoothed round-trip time.
	RoundTrip time.Duration
}
