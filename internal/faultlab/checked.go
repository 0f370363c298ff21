package faultlab

import (
	"net"
	"slices"
)

// checked are faults that are made with active health checks as well: with them, a
// transport must be listened to in another way, that of HTTP/3 and FastCGI not at all.
var checked = []string{
	"cut_in_header", "upstream_never_reads", "status_042", "http_to_tls_go_browser", "http_to_tls_apache", "answers_499",
	"h2_stream_reset", "h2_stream_refused_post", "h2_goaway_unprocessed", "h2_hpack_broken", "h2c_to_http1", "h2_body_stream_reset",
	"forward_proxy_closes", "forward_proxy_forbids", "socks_unreachable",
	"h3_certificate_untrusted", "h3_stream_reset", "h3_data_before_headers", "h3_moved",
	"fastcgi_refused", "fastcgi_speaks_http", "fastcgi_closed_unanswered", "fastcgi_read_timeout", "fastcgi_status_malformed", "fastcgi_length_unknown",
}

// checkedSuffix ends the name of a fault with active health checks.
const checkedSuffix = "_checked"

// checkedFaults are those of all that are made with active health checks too.
func checkedFaults(all []Fault) []Fault {
	var faults []Fault
	for _, fault := range all {
		if !slices.Contains(checked, fault.Name) {
			continue
		}
		start := fault.Start
		if fault.Name == "cut_in_header" {
			// Its connection is not listened to: the line may as well be malformed.
			fault.Cause, fault.Side = "unknown", ""
		}
		fault.Name += checkedSuffix
		fault.Start = func() (*Upstream, error) {
			u, err := start()
			if err != nil {
				return nil, err
			}
			return u.withChecks()
		}
		faults = append(faults, fault)
	}
	return faults
}

// withChecks lets u be checked, at a port that has nothing to do with the fault, and
// never be found unhealthy.
func (u *Upstream) withChecks() (*Upstream, error) {
	other, err := Good()
	if err != nil {
		return u.fails(err)
	}
	u.undo = append(u.undo, other.Close)
	_, port, err := net.SplitHostPort(other.To)
	if err != nil {
		return u.fails(err)
	}
	u.Block = append(u.Block, "health_uri /", "health_port "+port, "health_interval 10ms", "health_timeout 1s", "health_fails 1000000")
	return u, nil
}
