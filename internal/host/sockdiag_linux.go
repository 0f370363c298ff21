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
	remotePortAt     = 6
	addressAt        = 8
	remoteAddressAt  = 24
	rqueueAt         = 56
	wqueueAt         = 60
	inodeAt          = 68
	listenState      = 10 // TCP_LISTEN
	closeState       = 7  // TCP_CLOSE, which is that of a UDP socket that is bound
	maxListeners     = 1 << 14
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
	ok = diagnose(protocol, 1<<state, maxListeners, func(answer []byte) { found = append(found, listenerOf(answer)) })
	if !ok {
		return nil, false
	}
	return found, true
}

// diagnose gives to each what the kernel has of every socket in one of these states, of
// both families; ok says that it was all, and not more than most.
func diagnose(protocol byte, states uint32, most int, each func(answer []byte)) (ok bool) {
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		if !diagnoseFamily(family, protocol, states, &most, each) {
			return false
		}
	}
	return true
}

func diagnoseFamily(family, protocol byte, states uint32, most *int, each func(answer []byte)) (ok bool) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	// The kernel answers at once; should it not, nothing is known.
	patience := syscall.NsecToTimeval(100e6)
	if syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience) != nil {
		return false
	}
	message := make([]byte, syscall.SizeofNlMsghdr+requestSize)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(message[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	message[syscall.SizeofNlMsghdr] = family
	message[syscall.SizeofNlMsghdr+1] = protocol
	binary.NativeEndian.PutUint32(message[syscall.SizeofNlMsghdr+4:], states)
	if syscall.Sendto(fd, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}) != nil {
		return false
	}
	answer := make([]byte, 32<<10)
	for *most >= 0 {
		n, _, err := syscall.Recvfrom(fd, answer, 0)
		if err != nil {
			return false
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return false
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE:
				return true
			case m.Header.Type == syscall.NLMSG_ERROR:
				return false
			case len(m.Data) >= answerSize:
				*most--
				each(m.Data)
			}
		}
	}
	return false
}

// addressIn is one of a socket's two, which stands there in an answer.
func addressIn(answer []byte, at int) netip.Addr {
	if answer[0] == syscall.AF_INET6 {
		return netip.AddrFrom16([16]byte(answer[at:])).Unmap()
	}
	return netip.AddrFrom4([4]byte(answer[at:]))
}

// listenerOf reads an answer of the socket diagnosis. Of who listens, the two queues are
// how many wait to be accepted and how many may (linux/net/ipv4/tcp_diag.c).
func listenerOf(answer []byte) Listener {
	return Listener{
		Address: netip.AddrPortFrom(addressIn(answer, addressAt), binary.BigEndian.Uint16(answer[portAt:])),
		Waiting: int(binary.NativeEndian.Uint32(answer[rqueueAt:])),
		Backlog: int(binary.NativeEndian.Uint32(answer[wqueueAt:])),
		inode:   strconv.FormatUint(uint64(binary.NativeEndian.Uint32(answer[inodeAt:])), 10),
	}
}
