package faultlab

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
)

// Upstream is a broken upstream that has been started.
type Upstream struct {
	// To is what follows "reverse_proxy": addresses, separated by spaces; ""
	// where the block names a dynamic source.
	To string
	// Transport are the lines that must stand in the block of "transport http", or
	// of "transport fastcgi" where FastCGI says so.
	Transport []string
	FastCGI   bool
	// Block are the other lines that must stand in the block of reverse_proxy.
	Block []string
	// Servers are the lines that must stand in the global option "servers".
	Servers []string
	// Request is what the client has to send.
	Request Request

	// before does what has to have happened before the request that fails; after
	// it, what is still going on is ended with end, which may be nil.
	before func(v *visitor) (end func(), err error)

	// behave is what it does with a connection, if it is a server of our own; it can
	// be served in another way as well.
	behave behaviour
	// app is an application that does the same, where it isn't the protocol that is
	// broken; handshake is how TLS is spoken, where the handshake is.
	app       http.HandlerFunc
	handshake *tls.Config

	// reached is closed when the first bytes of a client have come here.
	reached chan struct{}
	reach   sync.Once

	// undo is what Close does, last one first.
	undo []func() error
}

func newUpstream(options ...option) *Upstream {
	u := &Upstream{reached: make(chan struct{})}
	for _, o := range options {
		o(u)
	}
	return u
}

// Directives returns what must stand in the block of reverse_proxy.
func (u *Upstream) Directives() string {
	var b strings.Builder
	for _, line := range u.Block {
		b.WriteString(line + "\n")
	}
	if len(u.Transport) > 0 || u.FastCGI {
		name := "http"
		if u.FastCGI {
			name = "fastcgi"
		}
		b.WriteString("transport " + name + " {\n")
		for _, line := range u.Transport {
			b.WriteString("\t" + line + "\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// Caddyfile returns the whole reverse_proxy directive.
func (u *Upstream) Caddyfile() string {
	directive := "reverse_proxy"
	if u.To != "" {
		directive += " " + u.To
	}
	return directive + " {\n" + u.Directives() + "}\n"
}

// Prepared says that Visit sends other requests before the one that fails.
func (u *Upstream) Prepared() bool { return u.before != nil }

// Reached is closed when the first bytes of a client have come to the upstream.
func (u *Upstream) Reached() <-chan struct{} { return u.reached }

// Close ends the upstream and waits until nothing of it is left.
func (u *Upstream) Close() error {
	var errs []error
	for i := len(u.undo) - 1; i >= 0; i-- {
		errs = append(errs, u.undo[i]())
	}
	u.undo = nil
	return errors.Join(errs...)
}

// fails closes what was started so far, and returns err.
func (u *Upstream) fails(err error) (*Upstream, error) {
	return nil, errors.Join(err, u.Close())
}

// tempDir makes a folder that Close removes.
func (u *Upstream) tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "faultlab")
	if err != nil {
		return "", err
	}
	u.undo = append(u.undo, func() error { return os.RemoveAll(dir) })
	return dir, nil
}

func (u *Upstream) hasReached() { u.reach.Do(func() { close(u.reached) }) }

// option is one more thing that a fault needs.
type option func(*Upstream)

// transport adds lines to the block of "transport http".
func transport(lines ...string) option {
	return func(u *Upstream) { u.Transport = append(u.Transport, lines...) }
}

// block adds lines to the block of reverse_proxy.
func block(lines ...string) option {
	return func(u *Upstream) { u.Block = append(u.Block, lines...) }
}

// servers adds lines to the global option "servers".
func servers(lines ...string) option {
	return func(u *Upstream) { u.Servers = append(u.Servers, lines...) }
}

// sends says what the client has to send.
func sends(r Request) option {
	return func(u *Upstream) { u.Request = r }
}
