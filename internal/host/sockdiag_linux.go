package host

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
)

// The kernel's socket diagnosis (linux/sock_diag.h, linux/inet_diag.h).
const (
	sockDiagByFamily = 20
	requestSize      = 56 // inet_diag_req_v2
	answerSize       = 72 // inet_diag_msg
	portAt           = 4
	addressAt        = 8
	rqueueAt         = 56
	wqueueAt         = 60
	inodeAt          = 68
	listenState      = 10 // TCP_LISTEN
	closeState       = 7  // TCP_CLOSE, which is that of a UDP socket that is bound
	maxAnswers       = 64
)

// diagnosedListeners lists who listens on TCP, as the kernel's socket diagnosis has it; ok
// is false where that doesn't answer.
func diagnosedListeners() (found []Listener, ok bool) {
	return askSockets(syscall.IPPROTO_TCP, listenState)
}

// boundUDP lists the UDP sockets that take datagrams from anybody.
func boundUDP() (found []Listener, ok bool) {
	return askSockets(syscall.IPPROTO_UDP, closeState)
}

func askSockets(protocol byte, state int) (found []Listener, ok bool) {
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		if found, ok = askFamily(family, protocol, state, found); !ok {
			return nil, false
		}
	}
	return found, true
}

// askFamily adds those of a family to found; ok says that it has all of them.
func askFamily(family, protocol byte, state int, found []Listener) (all []Listener, ok bool) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
	if err != nil {
		return found, false
	}
	defer syscall.Close(fd)
	// The kernel answers at once; should it not, nothing is known.
	patience := syscall.NsecToTimeval(100e6)
	if syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience) != nil {
		return found, false
	}
	message := make([]byte, syscall.SizeofNlMsghdr+requestSize)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(message[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	message[syscall.SizeofNlMsghdr] = family
	message[syscall.SizeofNlMsghdr+1] = protocol
	binary.NativeEndian.PutUint32(message[syscall.SizeofNlMsghdr+4:], 1<<state)
	if syscall.Sendto(fd, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}) != nil {
		return found, false
	}
	answer := make([]byte, 32<<10)
	for range maxAnswers {
		n, _, err := syscall.Recvfrom(fd, answer, 0)
		if err != nil {
			return found, false
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return found, false
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE:
				return found, true
			case m.Header.Type == syscall.NLMSG_ERROR:
				return found, false
			case len(m.Data) >= answerSize:
				found = append(found, listenerOf(m.Data))
			}
		}
	}
	return found, false
}

// listenerOf reads an answer of the socket diagnosis. Of who listens, the two queues are
// how many wait to be accepted and how many may (linux/net/ipv4/tcp_diag.c).
func listenerOf(answer []byte) Listener {
	address := netip.AddrFrom4([4]byte(answer[addressAt:]))
	if answer[0] == syscall.AF_INET6 {
		address = netip.AddrFrom16([16]byte(answer[addressAt:])).Unmap()
	}
	return Listener{
		Address: netip.AddrPortFrom(address, binary.BigEndian.Uint16(answer[portAt:])),
		Waiting: int(binary.NativeEndian.Uint32(answer[rqueueAt:])),
		Backlog: int(binary.NativeEndian.Uint32(answer[wqueueAt:])),
		inode:   strconv.FormatUint(uint64(binary.NativeEndian.Uint32(answer[inodeAt:])), 10),
	}
}
