package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/report"
)

// answerWithin is how long an answer may take: a probe has 10 s of its own.
const answerWithin = 15 * time.Second

// Endpoint is where the API is served.
type Endpoint struct {
	// Address is how people call it.
	Address string
	// Host is asked for; Origin says who asks, empty where nothing is to be said.
	Host, Origin string
	// Path is where the API is mounted.
	Path string
	Dial func(context.Context) (net.Conn, error)
}

// API asks an Endpoint. It must be closed.
type API struct {
	Endpoint
	client http.Client
}

// NewAPI makes an API; nothing is asked yet.
func NewAPI(e Endpoint) *API {
	transport := &http.Transport{ // with no proxy: it is this machine's, or named by address
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return e.Dial(ctx) },
	}
	return &API{e, http.Client{
		Transport: transport,
		// Nothing that is asked here redirects: another server answers.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       answerWithin,
	}}
}

// Close closes its connections.
func (a *API) Close() { a.client.CloseIdleConnections() }

// get reads what is at path into what it points to.
func (a *API) get(ctx context.Context, path string, query url.Values, into any) error {
	content, err := a.ask(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("what answers at %s is not Caddy's admin endpoint: %w", a.Address, err)
	}
	return nil
}

// ask returns an answer's content. Errors are sentences for who runs the command.
func (a *API) ask(ctx context.Context, method, path string, query url.Values, body []byte) ([]byte, error) {
	content, status, err := a.askAs(ctx, a.Origin, method, path, query, body)
	if status != http.StatusForbidden || a.Origin == "" {
		return content, err
	}
	// One that listens at all addresses (0.0.0.0:2019, as in containers) knows no origin that
	// who asks at localhost could name, and takes who names none, as curl.
	content, status, again := a.askAs(ctx, "", method, path, query, body)
	if status == http.StatusForbidden {
		return nil, err
	}
	a.Origin = ""
	return content, again
}

// askAs asks with that Origin, "" for none. The status is 0 where there was no answer.
func (a *API) askAs(ctx context.Context, origin, method, path string, query url.Values, body []byte) (content []byte, status int, err error) {
	at := url.URL{Scheme: "http", Host: a.Host, Path: a.Path, RawQuery: query.Encode()}
	if path != "" {
		at = *at.JoinPath(path)
	}
	r, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, 0, fmt.Errorf("%s can't be asked: %w", a.Address, err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := a.client.Do(r)
	if err != nil {
		return nil, 0, a.unreachable(err)
	}
	defer res.Body.Close()
	if content, err = io.ReadAll(res.Body); err != nil {
		return nil, 0, a.unreachable(err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode, a.refused(res.StatusCode, content)
	}
	return content, res.StatusCode, nil
}

// unreachable says why there is no answer.
func (a *API) unreachable(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL, which nobody has typed
	}
	const where = "if its admin endpoint is another one, name it by --address, or its config by --config"
	operation, ok := errors.AsType[*net.OpError](err)
	switch errno := host.Errno(err); {
	case ok && operation.Op == "dial" && (errno == syscall.ECONNREFUSED || errno == syscall.ENOENT):
		return fmt.Errorf("nothing listens at %s: is Caddy running, and without \"admin off\"? %s", a.Address, capitalized(where))
	case ok && operation.Op == "dial" && (errno == syscall.EACCES || errno == syscall.EPERM):
		return fmt.Errorf("%s may not be opened by this user: %w", a.Address, err)
	case ok && operation.Op == "dial":
		return fmt.Errorf("%s can't be reached: %w (%s)", a.Address, err, where)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("no answer from %s within %s", a.Address, answerWithin)
	}
	return fmt.Errorf("no answer from %s: %w (%s)", a.Address, err, where)
}

// refused says what an answer means that isn't the one that was asked for.
func (a *API) refused(status int, content []byte) error {
	var told struct {
		Error string `json:"error"`
	}
	known := json.Unmarshal(content, &told) == nil && told.Error != ""
	switch {
	case known && status == http.StatusForbidden:
		return fmt.Errorf("Caddy refuses who asks it as %s: %s (see the origins of its admin option)", a.Address, told.Error) //nolint:staticcheck // a name
	case known:
		return errors.New(told.Error)
	case status == http.StatusNotFound:
		return fmt.Errorf("the Caddy at %s was built without upstream_diagnostics; if its binary was changed since it started, restart it (a reload is not enough)", a.Address)
	}
	return fmt.Errorf("what answers at %s is not Caddy's admin endpoint: status %d to %s", a.Address, status, a.Path)
}

// Sentence is an error as a person may read it, on one line.
func Sentence(err error) string { return report.Printable(strings.TrimSpace(err.Error())) }

func capitalized(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
