package host

import (
	"encoding/binary"
	"strconv"
	"syscall"
)

// The kernel's socket diagnosis (linux/sock_diag.h, linux/inet_diag.h).
const (
	sockDiagByFamily = 20
	requestSize      = 56 // inet_diag_req_v2
	answerSize       = 72 // inet_diag_msg
	wqueueAt         = 60
	inodeAt          = 68
	listenState      = 10 // TCP_LISTEN
	maxAnswers       = 64
)

// backlogs are how many connections each TCP socket that is listened on lets wait, by its
// inode; none where the kernel doesn't say.
func backlogs() map[string]int {
	found := make(map[string]int)
	for _, family := range []byte{syscall.AF_INET, syscall.AF_INET6} {
		askBacklogs(family, found)
	}
	return found
}

func askBacklogs(family byte, found map[string]int) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	// The kernel answers at once; should it not, nothing is known.
	patience := syscall.NsecToTimeval(100e6)
	if syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience) != nil {
		return
	}
	message := make([]byte, syscall.SizeofNlMsghdr+requestSize)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(message[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	message[syscall.SizeofNlMsghdr] = family
	message[syscall.SizeofNlMsghdr+1] = syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(message[syscall.SizeofNlMsghdr+4:], 1<<listenState)
	if syscall.Sendto(fd, message, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}) != nil {
		return
	}
	answer := make([]byte, 32<<10)
	for range maxAnswers {
		n, _, err := syscall.Recvfrom(fd, answer, 0)
		if err != nil {
			return
		}
		messages, err := syscall.ParseNetlinkMessage(answer[:n])
		if err != nil {
			return
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == syscall.NLMSG_DONE, m.Header.Type == syscall.NLMSG_ERROR:
				return
			case len(m.Data) >= answerSize:
				inode := binary.NativeEndian.Uint32(m.Data[inodeAt:])
				found[strconv.FormatUint(uint64(inode), 10)] = int(binary.NativeEndian.Uint32(m.Data[wqueueAt:]))
			}
		}
	}
}
