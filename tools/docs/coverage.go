package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/template"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
)

//go:embed coverage.md.tmpl
var coverageTemplate string

// The transports, and what else may lie between Caddy and an upstream: the columns.
const (
	http1        = "HTTP/1.1"
	overTLS      = "TLS"
	h2           = "h2"
	h2c          = "h2c"
	http3        = "HTTP/3"
	unixSocket   = "unix socket"
	fastCGI      = "FastCGI"
	forwardProxy = "forward proxy"
	proxyHeader  = "PROXY protocol"
	dynamic      = "dynamic upstreams"
	activeChecks = "active checks"
	forwardAuth  = "forward_auth"
)

var columns = []string{http1, overTLS, h2, h2c, http3, unixSocket, fastCGI, forwardProxy, proxyHeader, dynamic, activeChecks, forwardAuth}

// Cell is what is known of one cause over one transport.
type Cell struct {
	Column  string
	Verdict string   // proven, skipped or impossible
	Reason  string   // why it is skipped or impossible
	Note    string   // the reason's letter
	Proofs  []string // the faults that prove it
}

// Line is a row of the table.
type Line struct {
	Cause string
	Cells []Cell
}

// Proven are the cells that are.
func (l Line) Proven() (proven []Cell) {
	for _, c := range l.Cells {
		if c.Verdict == "proven" {
			proven = append(proven, c)
		}
	}
	return proven
}

// nobodys is the fault that TestFaultsAsNobody tries, for root is never refused.
const nobodys = "socket_forbidden"

// tests are the proofs that are no fault of the lab: cause, columns and test.
var tests = []struct {
	cause   string
	columns []string
	test    string
}{
	{"proxy_loop", []string{http1}, "TestProxyLoop"},
	{"proxy_loop", []string{overTLS, h2, h2c, dynamic, activeChecks, forwardAuth}, "TestProxyLoopOverWays"},
}

// maxProofs is how many faults are named for one cell.
const maxProofs = 4

// coveragePage is the table of causes and transports. What a fault is met over is
// read from its own directives, so the faults are started; that all of them can be
// needs Linux.
func coveragePage() ([]byte, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("the coverage is told from the faults that run on Linux: generate it there")
	}
	proofs, err := proofs()
	if err != nil {
		return nil, err
	}
	var (
		lines   []Line
		reasons []string
		counts  = make(map[string]int)
	)
	for row := range cause.Rows() {
		line := Line{Cause: row.Name}
		for _, column := range columns {
			c := Cell{Column: column, Verdict: "proven", Proofs: proofs[row.Name][column]}
			if len(c.Proofs) == 0 {
				c.Verdict, c.Reason = unproven(row, column)
				at := slices.Index(reasons, c.Reason)
				if at < 0 {
					at = len(reasons)
					reasons = append(reasons, c.Reason)
				}
				c.Note = fmt.Sprint(at + 1)
			} else if len(c.Proofs) > maxProofs {
				c.Proofs = append(c.Proofs[:maxProofs:maxProofs], fmt.Sprintf("and %d more", len(c.Proofs)-maxProofs))
			}
			counts[c.Verdict]++
			line.Cells = append(line.Cells, c)
		}
		lines = append(lines, line)
	}
	page, err := template.New("coverage.md").Funcs(template.FuncMap{
		"anchor": anchor,
		"inc":    func(i int) int { return i + 1 },
		"join":   strings.Join,
	}).Parse(coverageTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, map[string]any{"Columns": columns, "Lines": lines, "Reasons": reasons, "Counts": counts})
	return b.Bytes(), err
}

// proofs are the faults that prove each cause in each column.
func proofs() (map[string]map[string][]string, error) {
	found := make(map[string]map[string][]string)
	prove := func(f faultlab.Fault, column, proof string) {
		if found[f.Cause] == nil {
			found[f.Cause] = make(map[string][]string)
		}
		found[f.Cause][column] = append(found[f.Cause][column], proof)
	}
	for _, test := range tests {
		for _, column := range test.columns {
			prove(faultlab.Fault{Cause: test.cause}, column, "`"+test.test+"`")
		}
	}
	// Over a way, one fault of each cause and list is tried: see tests/faults/ways_test.go.
	for _, list := range [][]faultlab.Fault{faultlab.Faults(), faultlab.KernelFaults()} {
		tried := make(map[string]bool)
		for _, f := range list {
			if f.Cause == "" {
				continue
			}
			u, err := started(f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			for _, column := range metOver(f, u) {
				prove(f, column, "`"+f.Name+"`")
			}
			if err := u.Close(); err != nil {
				return nil, err
			}
			for _, way := range faultlab.Ways() {
				if tried[way.Name+f.Cause] || f.Skip != "" && f.Name != nobodys && !isKernels(f) {
					continue
				}
				u, err := started(f)
				if err != nil {
					return nil, err
				}
				_, unfit, err := way.Over(f, u)
				if err != nil {
					return nil, err
				}
				if unfit == "" {
					tried[way.Name+f.Cause] = true
					prove(f, way.Name, "`"+f.Name+"` over it")
					if way.Name == overTLS && (f.Phase == "select" || f.Phase == "dns" || f.Phase == "connect") {
						prove(f, h2, "`"+f.Name+"` over TLS") // which offers h2
					}
				}
				if err := u.Close(); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, nil
}

// started starts a fault, which breaks nothing of the kernel's here. For one that
// can't be made, something stands in that has the same directives.
func started(f faultlab.Fault) (*faultlab.Upstream, error) {
	if f.Skip == "" || isKernels(f) {
		return f.Start()
	}
	return &faultlab.Upstream{To: "unix//run/app.sock"}, nil
}

// isKernels says that a fault is made by a test in a namespace of its own.
func isKernels(f faultlab.Fault) bool {
	return slices.ContainsFunc(faultlab.KernelFaults(), func(k faultlab.Fault) bool { return k.Name == f.Name })
}

// metOver are the columns to which a fault belongs by itself.
func metOver(f faultlab.Fault, u *faultlab.Upstream) []string {
	directives := "\n" + u.Caddyfile()
	has := func(line string) bool {
		return strings.Contains(directives, "\n"+line) || strings.Contains(directives, "\n\t"+line)
	}
	var met []string
	switch tls := has("tls") || strings.Contains(u.To, "https://"); {
	case u.FastCGI:
		met = append(met, fastCGI)
	case has("versions 3"):
		met = append(met, http3)
	case has("versions h2c"), strings.Contains(u.To, "h2c://"):
		met = append(met, h2c)
	case strings.HasPrefix(f.Name, "h2_"):
		met = append(met, h2)
	case tls && f.Phase == "tls" && !has("versions 1.1"):
		met = append(met, overTLS, h2) // the protocol is agreed in the handshake
	case tls:
		met = append(met, overTLS)
	default:
		met = append(met, http1)
	}
	for column, is := range map[string]bool{
		unixSocket:   strings.Contains(u.To, "unix/"),
		forwardProxy: has("network_proxy url"),
		proxyHeader:  has("proxy_protocol"),
		dynamic:      has("dynamic "),
		activeChecks: has("health_"),
	} {
		if is {
			met = append(met, column)
		}
	}
	return met
}
