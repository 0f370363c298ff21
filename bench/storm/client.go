package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// client asks over one keep-alive connection. It does little, so that the machine's time is
// Caddy's.
type client struct {
	conn net.Conn
	r    *bufio.Reader
	id   []byte // of the last failure
}

func dial(address string) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, r: bufio.NewReader(conn)}, nil
}

// answerWithin is how long an answer may take at most.
const answerWithin = time.Minute

// request is the one for a site.
func request(site string) []byte {
	return fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: storm\r\n\r\n", site)
}

// fail sends a request, and returns nil where the answer is that an upstream failed.
func (c *client) fail(request []byte) error {
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 502 ")) && !bytes.HasPrefix(line, []byte("HTTP/1.1 503 ")) {
		return fmt.Errorf("expected a 502 or 503, got %q", line)
	}
	c.id = c.id[:0]
	length := -1
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		value = bytes.TrimSpace(value)
		switch {
		case len(bytes.TrimSpace(line)) == 0:
			if length < 0 || len(c.id) == 0 {
				return errors.New("the answer has no length, or no failure's id")
			}
			_, err := c.r.Discard(length)
			return err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		case bytes.EqualFold(name, []byte("Upstream-Failure-Id")):
			c.id = append(c.id, value...)
		}
	}
}
