package faultlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// isolatedEnv marks a process that Isolate has started.
const isolatedEnv = "FAULTLAB_ISOLATED"

// Isolated says that this process has a network of its own, which KernelFaults may
// break.
func Isolated() bool { return os.Getenv(isolatedEnv) == "1" }

// Isolate prepares to run this very program again with args, in user and network
// namespaces of its own: root there, and with a loopback that is still down. Where
// the system doesn't allow it, starting the command fails with a permission error.
func Isolate(args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), isolatedEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	return cmd, nil
}

// KernelFaults lists the faults that need the kernel's help: routes and ports.
// They are made only where Isolated says so.
func KernelFaults() []Fault {
	failed := func(name, number, cause, side string, start func() (*Upstream, error)) Fault {
		return Fault{
			Name: name, Number: number, Skip: unless(Isolated(), "needs a network namespace of its own"),
			Cause: cause, Phase: "connect", Side: side, Outcome: "failed", Status: 502,
			Start: start,
		}
	}
	faults := []Fault{
		failed("route_missing", "N08d", "network_unreachable", "network", routed(0)),
		failed("route_unreachable", "N08a", "host_unreachable", "network", routed(routeUnreachable)),
		failed("route_prohibited", "N08b", "connect_prohibited", "network", routed(routeProhibit)),
		failed("route_blackhole", "N08c", "network_unreachable", "network", routed(routeBlackhole)),
		failed("ports_exhausted", "38", "ports_exhausted", "proxy", startPortsExhausted),
		failed("ipv6_switched_off", "", "address_family_unavailable", "proxy", startIPv6Off),
		lost("connection_forgotten", forgotten(overTCP(forgets, sends(post()), after(warmUp)))),
		lost("h2_connection_forgotten", forgotten(overH2(forgetsFramed, sends(post()), after(warmUp)))),
		lost("h2c_connection_forgotten", forgotten(overH2C(forgetsFramed, sends(post()), after(warmUp)))),
		lost("fastcgi_connection_forgotten", forgotten(overTCP(forgetsInStdin, fastCGI(), sends(upload())))),
	}
	patience := transport("response_header_timeout 1500ms")
	unarrived := func(name string, start func() (*Upstream, error)) Fault {
		f := lost(name, start)
		f.Skip = "" // it breaks only its own connection
		return f
	}
	gaveUp := unarrived("request_lost_client_leaves", overTCP(forgets, sends(leavesLate(post())), after(warmUp)))
	gaveUp.Outcome, gaveUp.Status = "abandoned", 0
	faults = append(faults, gaveUp,
		unarrived("request_lost", overTCP(forgets, sends(post()), after(warmUp), patience)),
		unarrived("request_lost_read_timeout", overTCP(forgets, sends(post()), after(warmUp), transport("read_timeout 1500ms"))),
		unarrived("h2_request_lost", overH2(forgetsFramed, sends(post()), after(warmUp), patience)),
		unarrived("h2c_request_lost", overH2C(forgetsFramed, sends(post()), after(warmUp), patience)),
		unarrived("large_request_lost", overTCP(losesLarge, sends(withCookie(post())), after(warmUp), patience)),
		unarrived("upload_lost", overTCP(forgets, sends(upload()), after(warmUp), transport("write_timeout 1500ms"))),
	)
	for i := range faults {
		switch faults[i].Name {
		case "fastcgi_connection_forgotten", "upload_lost":
			faults[i].Phase = "send"
		}
	}
	return faults
}

// lost is a connection that something on the way has forgotten.
func lost(name string, start func() (*Upstream, error)) Fault {
	return Fault{
		Name: name, Skip: unless(Isolated(), "needs a network namespace of its own"),
		// The system's ETIMEDOUT calls itself a timeout, so Caddy answers 504.
		Cause: "connection_lost", Phase: "wait", Side: "network", Outcome: "failed", Status: 504,
		RequestSent: "maybe",
		Start:       start,
	}
}

const (
	ipv6OffFile     = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
	retransmitsFile = "/proc/sys/net/ipv4/tcp_retries2"
)

// startIPv6Off makes an upstream at an address of IPv6, which this host has not.
func startIPv6Off() (*Upstream, error) {
	u := newUpstream()
	u.To = "[::1]:80"
	return u, inNamespace(func() error {
		u.undo = append(u.undo, func() error { return os.WriteFile(ipv6OffFile, []byte("0\n"), 0) })
		return os.WriteFile(ipv6OffFile, []byte("1\n"), 0)
	})
}

// forgotten makes an upstream whose connection is forgotten on the way: nothing comes
// through any more, and nobody says so. This namespace's TCP gives up after a second
// instead of a quarter of an hour.
func forgotten(start func() (*Upstream, error)) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u, err := start()
		if err != nil {
			return nil, err
		}
		return u, inNamespace(func() error {
			usual, err := os.ReadFile(retransmitsFile)
			if err != nil {
				return err
			}
			u.undo = append(u.undo, func() error { return os.WriteFile(retransmitsFile, usual, 0) })
			return os.WriteFile(retransmitsFile, []byte("2\n"), 0)
		})
	}
}

// inNamespace switches the loopback on and breaks something of the kernel's, in a
// process that has a network of its own. Elsewhere a fault is only described.
func inNamespace(broken func() error) error {
	if !Isolated() {
		return nil
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	return broken()
}

func forgets(c *conn) {
	if _, err := c.request(); err != nil {
		return
	}
	forget(c.raw)
	c.say(good)
	<-c.closing
}

// losesLarge loses what is larger than a tunnel's packets, as where an MTU is too large.
func losesLarge(c *conn) {
	if _, err := c.request(); err != nil {
		return
	}
	if raw, err := c.raw.(*net.TCPConn).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = dropLonger(int(fd), 1400) })
	}
	c.say(good)
	<-c.closing
}

// withCookie makes a request larger than that.
func withCookie(r Request) Request {
	r.Header = map[string]string{"Cookie": "session=" + strings.Repeat("c", 2500)}
	return r
}

// leavesLate makes the client leave when the request has been sent again some times.
func leavesLate(r Request) Request {
	r.Leave = LeaveLate
	return r
}

// forgetsFramed does so over HTTP/2, with a request that is answered first.
func forgetsFramed(p *peer, stream uint32) bool {
	forget(p.raw)
	return answersWell(p, stream)
}

// forgetsInStdin does so when the request's body has begun.
func forgetsInStdin(c *conn) {
	for {
		kind, _, err := c.record()
		if err != nil {
			return
		}
		if kind == fcgiStdin {
			forget(c.raw)
			<-c.closing
			return
		}
	}
}

// forget drops all that comes to c from now on, before TCP sees it.
func forget(c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(dropAll)
}

// The kernel's route types (linux/rtnetlink.h).
const (
	routeBlackhole   = syscall.RTN_BLACKHOLE
	routeUnreachable = syscall.RTN_UNREACHABLE
	routeProhibit    = syscall.RTN_PROHIBIT
)

// routed makes an upstream at an address for documentation (RFC 5737), to which a
// route of this kind leads; 0 for none.
func routed(kind byte) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(transport("dial_timeout 2s"))
		host := net.IPv4(192, 0, 2, 1+kind).To4()
		u.To = net.JoinHostPort(host.String(), "80")
		return u, inNamespace(func() error {
			if kind == 0 {
				return nil
			}
			u.undo = append(u.undo, func() error { return changeRoute(syscall.RTM_DELROUTE, 0, host, kind) })
			return changeRoute(syscall.RTM_NEWROUTE, syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, host, kind)
		})
	}
}

// startPortsExhausted makes an upstream to which every local port is already
// connected when the request comes.
func startPortsExhausted() (*Upstream, error) {
	if err := inNamespace(func() error { return nil }); err != nil {
		return nil, err
	}
	u, err := overTCP((*conn).hold)()
	if err != nil {
		return nil, err
	}
	u.before = func(v *visitor) (func(), error) { return exhaustPorts(u.To) }
	return u, nil
}

const portRangeFile = "/proc/sys/net/ipv4/ip_local_port_range"

// exhaustPorts leaves two local ports and connects from both. Connections to
// elsewhere may still share them.
func exhaustPorts(address string) (end func(), err error) {
	usual, err := os.ReadFile(portRangeFile)
	if err != nil {
		return nil, err
	}
	var closers []func() error
	end = func() {
		for _, c := range closers {
			_ = c() // the namespace ends with the process
		}
	}
	if err := os.WriteFile(portRangeFile, []byte("20000 20001\n"), 0); err != nil {
		return nil, err
	}
	closers = append(closers, func() error { return os.WriteFile(portRangeFile, usual, 0) })
	for range 4 {
		c, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		closers = append(closers, c.Close)
	}
	return end, errors.New("the local ports are still not used up")
}

// loopbackUp switches the namespace's loopback on, the first interface of each.
func loopbackUp() error {
	message := make([]byte, syscall.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(message[4:], 1) // ifi_index
	binary.NativeEndian.PutUint32(message[8:], syscall.IFF_UP)
	binary.NativeEndian.PutUint32(message[12:], syscall.IFF_UP) // ifi_change
	if err := netlink(syscall.RTM_NEWLINK, 0, message); err != nil {
		return fmt.Errorf("switching the loopback on: %w", err)
	}
	return nil
}

// changeRoute adds or deletes the route to one host.
func changeRoute(kind, flags uint16, host net.IP, route byte) error {
	message := make([]byte, syscall.SizeofRtMsg, syscall.SizeofRtMsg+8)
	message[0] = syscall.AF_INET
	message[1] = 32 // rtm_dst_len
	message[4] = syscall.RT_TABLE_MAIN
	message[5] = syscall.RTPROT_STATIC
	message[6] = syscall.RT_SCOPE_UNIVERSE
	message[7] = route
	message = binary.NativeEndian.AppendUint16(message, 8) // the attribute's length
	message = binary.NativeEndian.AppendUint16(message, syscall.RTA_DST)
	return netlink(kind, flags, append(message, host...))
}

// netlink sends one message to the kernel and waits for its word (rtnetlink(7)).
func netlink(kind, flags uint16, message []byte) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)

	request := make([]byte, syscall.SizeofNlMsghdr, syscall.SizeofNlMsghdr+len(message))
	binary.NativeEndian.PutUint32(request[0:], uint32(syscall.SizeofNlMsghdr+len(message)))
	binary.NativeEndian.PutUint16(request[4:], kind)
	binary.NativeEndian.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_ACK|flags)
	request = append(request, message...)
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	reply := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, reply, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < syscall.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(reply[4:]) != syscall.NLMSG_ERROR {
		return errors.New("netlink: no word about the request")
	}
	if number := int32(binary.NativeEndian.Uint32(reply[syscall.SizeofNlMsghdr:])); number != 0 {
		return syscall.Errno(-number)
	}
	return nil
}
