package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// isCaddy says that this process is the Caddy that another one of this program started.
func isCaddy() bool { return len(os.Args) > 1 && os.Args[1] == "run" }

// caddy is a Caddy that runs. It has several sites at one address, each with a path.
type caddy struct {
	address string // of the sites
	admin   string // the admin endpoint's URL
	process *exec.Cmd
	log     *os.File
	work    string
	ended   chan struct{}
}

// startCaddy returns when it answers. It ends with ctx, or with stop.
func startCaddy(ctx context.Context, sites string) (c *caddy, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	c = &caddy{address: "127.0.0.1:" + ports[0], admin: "http://127.0.0.1:" + ports[1], ended: make(chan struct{})}
	if c.work, err = os.MkdirTemp("", "storm"); err != nil {
		return nil, err
	}
	if c.log, err = os.CreateTemp(c.work, "log"); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.work))
	}
	config := fmt.Sprintf("{\nadmin 127.0.0.1:%s\npersist_config off\nauto_https off\n}\nhttp://:%s {\nbind 127.0.0.1\n%s}\n", ports[1], ports[0], sites)
	c.process = exec.CommandContext(ctx, program, "run", "--config", "-", "--adapter", "caddyfile")
	c.process.Stdin, c.process.Stderr = strings.NewReader(config), c.log
	c.process.Env = append(os.Environ(), "XDG_DATA_HOME="+c.work, "XDG_CONFIG_HOME="+c.work)
	if err := c.process.Start(); err != nil {
		close(c.ended)
		return nil, errors.Join(err, c.stop())
	}
	go func() {
		defer close(c.ended)
		_ = c.process.Wait() // it is killed
	}()
	if err := c.await(ctx); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// await returns when it answers.
func (c *caddy) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if _, err := c.get(ctx, "/upstream_diagnostics"); err == nil {
			return nil
		}
		select {
		case <-c.ended:
			log, _ := os.ReadFile(c.log.Name())
			return fmt.Errorf("caddy ended: %s", log)
		case <-ctx.Done():
			return fmt.Errorf("waiting for Caddy: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends it and removes what it left.
func (c *caddy) stop() error {
	if c.process.Process != nil {
		_ = c.process.Process.Kill() // it may have ended
	}
	<-c.ended
	adminClient.CloseIdleConnections()
	return errors.Join(c.log.Close(), os.RemoveAll(c.work))
}

var adminClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true}}

// get reads from the admin endpoint.
func (c *caddy) get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.admin+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := adminClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", path, res.Status, body)
	}
	return body, err
}

func (c *caddy) getJSON(ctx context.Context, path string, into any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// memory is what a process holds, in bytes.
type memory struct{ heap, resident uint64 }

var heapInuse = regexp.MustCompile(`(?m)^# HeapInuse = (\d+)$`)

// memory is what it holds after a garbage collection; resident is 0 where that isn't known.
func (c *caddy) memory(ctx context.Context) (m memory, err error) {
	profile, err := c.get(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return m, err
	}
	found := heapInuse.FindSubmatch(profile)
	if found == nil {
		return m, errors.New("the heap profile doesn't say how large the heap is")
	}
	if m.heap, err = strconv.ParseUint(string(found[1]), 10, 64); err != nil {
		return m, err
	}
	statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.process.Process.Pid))
	if fields := bytes.Fields(statm); len(fields) > 1 { // proc(5): in pages
		pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
		if err != nil {
			return m, err
		}
		m.resident = pages * uint64(os.Getpagesize())
	}
	return m, nil
}

// freePorts gives ports that the system has chosen and nobody listens on.
func freePorts(count int) (ports []string, err error) {
	for range count {
		var ln net.Listener
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		defer ln.Close()
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// refusing gives addresses that refuse connections, on ports that no system gives to who
// connects: of many thousand connections to another one, some would come from that port and
// so meet themselves.
func refusing(count int) (addresses []string, err error) {
	const firstGivenOut = 1024
	for port := 1; port < firstGivenOut && len(addresses) < count; port++ {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		conn, err := net.DialTimeout("tcp", address, 3*time.Second)
		if err == nil {
			conn.Close()
		} else if dialErr, ok := errors.AsType[net.Error](err); ok && !dialErr.Timeout() {
			addresses = append(addresses, address)
		}
	}
	if len(addresses) < count {
		return nil, fmt.Errorf("%d ports of 127.0.0.1 below %d refuse connections, %d are needed", len(addresses), firstGivenOut, count)
	}
	return addresses, nil
}
