package faultlab

import (
	"errors"
	"net"
	"os"
	"path/filepath"
)

func connectFaults() []Fault {
	return []Fault{
		{
			Name: "port_closed", Number: "01a",
			Cause: "connection_refused", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: refused(),
		},
		{
			Name: "socket_stale", Number: "02b", Skip: unless(!onWindows, needsUnixSockets),
			Cause: "connection_refused", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: onPath(staleSocket),
		},
		{
			Name: "socket_is_a_file", Number: "02b", Skip: unless(onLinux, needsUnixSockets),
			Cause: "connection_refused", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: onPath(func(path string) (string, error) { return path, os.WriteFile(path, nil, 0o600) }),
		},
		{
			Name: "socket_missing", Number: "02a", Skip: unless(!onWindows, needsUnixSockets),
			Cause: "socket_not_found", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: onPath(func(path string) (string, error) { return path, nil }),
		},
		{
			Name: "socket_below_a_file", Number: "02c", Skip: unless(!onWindows, needsUnixSockets),
			Cause: "socket_not_found", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: onPath(func(path string) (string, error) {
				return filepath.Join(path, "app.sock"), os.WriteFile(path, nil, 0o600)
			}),
		},
		{
			Name: "socket_forbidden", Number: "03", Skip: skipForbidden(),
			Cause: "socket_permission_denied", Phase: "connect", Side: "proxy", Outcome: "failed", Status: 502,
			Start: startForbidden,
		},
		{
			Name: "socket_backlog_full", Skip: unless(onLinux, needsLinux),
			Cause: "socket_backlog_full", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: startUnixBacklogFull,
		},
		{
			Name: "backlog_full", Number: "07a", Skip: unless(onLinux, needsLinux),
			Cause: "socket_backlog_full", Phase: "connect", Side: "upstream", Outcome: "failed", Status: 502,
			Start: tcpBacklogFull(transport("dial_timeout 300ms")),
		},
		{
			Name: "connect_unanswered", Skip: unless(onLinux, needsLinux),
			Cause: "connect_timeout", Phase: "connect", Side: "network", Outcome: "failed", Status: 502,
			RequestSent: "no",
			Start:       unheard(transport("dial_timeout 300ms")),
		},
		{
			Name: "client_leaves_while_dialling", Number: "07b", Skip: unless(onLinux, needsLinux),
			Cause: "client_closed_request", Phase: "connect", Side: "client", Outcome: "abandoned",
			Start: tcpBacklogFull(transport("dial_timeout 3s"), sends(Request{Leave: LeaveDelayed})),
		},
		{
			Name: "descriptors_exhausted", Number: "37", Skip: unless(!onWindows, "needs a limit of file descriptors"),
			Cause: "file_descriptors_exhausted", Phase: "connect", Side: "proxy", Outcome: "failed", Status: 502,
			Start: startDescriptorsExhausted,
		},
		{
			Name: "local_address_foreign", Number: "38",
			Cause: "local_address_unavailable", Phase: "connect", Side: "proxy", Outcome: "failed", Status: 502,
			// 192.0.2.1 is for documentation (RFC 5737): no host has it.
			Start: overTCP(answers(good), transport("local_address 192.0.2.1")),
		},
		{
			Name: "forward_proxy_refused", Number: "47",
			Cause: "forward_proxy_failed", Phase: "connect", Side: "network", Outcome: "failed", Status: 502,
			Start: startForwardProxyRefused,
		},
	}
}

// refused makes an upstream on a port on which nobody listens. The port is that of
// a connection's client end: it is taken as long as the upstream isn't closed, so
// that no other test is given it.
func refused(options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		address, err := u.closedPort()
		if err != nil {
			return u.fails(err)
		}
		u.To = address
		return u, nil
	}
}

func (u *Upstream) closedPort() (address string, err error) {
	l, err := listenTCP()
	if err != nil {
		return "", err
	}
	u.undo = append(u.undo, l.Close)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return "", err
	}
	u.undo = append(u.undo, c.Close)
	return c.LocalAddr().String(), nil
}

// startForwardProxyRefused makes an upstream that is reached through a forward
// proxy which isn't there.
func startForwardProxyRefused() (*Upstream, error) {
	u, err := overTCP(answers(good))()
	if err != nil {
		return nil, err
	}
	proxy, err := u.closedPort()
	if err != nil {
		return u.fails(err)
	}
	u.Transport = append(u.Transport, "network_proxy url http://"+proxy)
	return u, nil
}

// onPath makes an upstream at the unix socket that make returns, given a path in a
// folder of its own.
func onPath(make func(path string) (socket string, err error), options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		dir, err := u.tempDir()
		if err != nil {
			return u.fails(err)
		}
		socket, err := make(filepath.Join(dir, "app.sock"))
		if err != nil {
			return u.fails(err)
		}
		u.To = unixAddress(socket)
		return u, nil
	}
}

// staleSocket leaves a socket without its process.
func staleSocket(path string) (string, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return "", err
	}
	l.SetUnlinkOnClose(false)
	return path, l.Close()
}

func skipForbidden() string {
	if onWindows {
		return needsUnixSockets
	}
	return unless(os.Geteuid() != 0, "root may use any socket")
}

// startForbidden makes an upstream on a socket that we may not write to.
func startForbidden() (*Upstream, error) {
	u, err := overUnix(answers(good))()
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(u.To[len(unixAddress("")):], 0); err != nil {
		return u.fails(err)
	}
	return u, nil
}

// tcpBacklogFull makes an upstream that lives but accepts nothing: its backlog is
// full, and the system drops what asks for more.
func tcpBacklogFull(options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		address, release, err := fillTCPBacklog()
		if err != nil {
			return u.fails(err)
		}
		u.undo = append(u.undo, release)
		u.To = address
		return u, nil
	}
}

// unheard makes an upstream to which no packet comes through.
func unheard(options ...option) func() (*Upstream, error) {
	return func() (*Upstream, error) {
		u := newUpstream(options...)
		address, release, err := listenUnheard()
		if err != nil {
			return u.fails(err)
		}
		u.undo = append(u.undo, release)
		u.To = address
		return u, nil
	}
}

// startUnixBacklogFull does so on a unix socket, where the system refuses with EAGAIN.
func startUnixBacklogFull() (*Upstream, error) {
	u := newUpstream()
	dir, err := u.tempDir()
	if err != nil {
		return u.fails(err)
	}
	path := filepath.Join(dir, "app.sock")
	release, err := fillUnixBacklog(path)
	if err != nil {
		return u.fails(err)
	}
	u.undo = append(u.undo, release)
	u.To = unixAddress(path)
	return u, nil
}

var errNeverFull = errors.New("the backlog took every connection")
