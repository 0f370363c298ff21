package host

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const stateCloseWait = 8 // TCP_CLOSE_WAIT (linux/net/tcp_states.h)

// TCPInfoOf asks the kernel about a connection that is still open; ok is false where it
// is no TCP connection or the kernel doesn't say.
func TCPInfoOf(conn net.Conn) (info TCPInfo, ok bool) {
	raw, isRaw := conn.(syscall.Conn)
	if !isRaw {
		return TCPInfo{}, false
	}
	if _, isTCP := conn.LocalAddr().(*net.TCPAddr); !isTCP {
		return TCPInfo{}, false
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return TCPInfo{}, false
	}
	err = control.Control(func(fd uintptr) {
		known, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		ok = true
		// What was sent again counts in Bytes_sent each time, and the SYN in Bytes_acked.
		acknowledged := int64(known.Bytes_acked) - 1 //nolint:gosec // far from its end
		sent := int64(known.Bytes_sent - known.Bytes_retrans)
		info = TCPInfo{
			Unacknowledged:    max(0, sent-acknowledged),
			Unsent:            int64(known.Notsent_bytes),
			Acknowledged:      max(0, acknowledged),
			Received:          int64(known.Bytes_received), //nolint:gosec // far from its end
			Retransmits:       int(known.Retransmits),
			AllRetransmits:    int(known.Total_retrans),
			OutOfOrder:        int(known.Rcv_ooopack),
			SinceReceived:     time.Duration(known.Last_data_recv) * time.Millisecond,
			SinceAcknowledged: time.Duration(known.Last_ack_recv) * time.Millisecond,
			PeerClosed:        known.State == stateCloseWait,
			RoundTrip:         time.Duration(known.Rtt) * time.Microsecond,
		}
		if known.Unacked == 0 {
			info.Unacknowledged = 0
		}
	})
	return info, ok && err == nil
}
