package diagnostics

import (
	"net/http"

	"github.com/dunglas/httpsfv"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

const proxyStatus = "Proxy-Status"

// How much of the Proxy-Status of an answer that was replaced is passed on.
const (
	maxReceived        = 4 << 10 // bytes
	maxReceivedMembers = 16
	maxReceivedRead    = 16 << 10 // what is longer isn't even read
)

// addProxyStatus adds our member to the Proxy-Status field (RFC 9209) of an answer
// that is yet to be written. For who sees the details, members of those nearer to the
// upstream stay before it, those too that were received in the answer that ours replaces;
// the public gets ours alone, because a member's very name may be an address inside. A
// field that is malformed is dropped, as Caddy does where it sends one itself.
func addProxyStatus(header http.Header, name string, received []string, f *failure.Failure, details bool) error {
	member := httpsfv.NewItem(httpsfv.Token(name))
	if _, err := httpsfv.Marshal(member); err != nil {
		member.Value = name // what is no token can be a string
	}
	if f.ProxyError != "" {
		member.Params.Add("error", httpsfv.Token(f.ProxyError))
	}
	if f.Received != nil {
		member.Params.Add("received-status", int64(f.Received.Status))
	}
	if len(member.Params.Names()) > 0 && details {
		addProxyDetails(member.Params, f)
	}

	var list httpsfv.List
	if details {
		before, err := httpsfv.UnmarshalList(header.Values(proxyStatus))
		if err == nil {
			list = before
		}
		list = append(list, receivedMembers(received)...)
	}
	if len(member.Params.Names()) > 0 { // else it would say nothing
		list = append(list, member)
	}
	if len(list) == 0 {
		header.Del(proxyStatus)
		return nil
	}
	value, err := httpsfv.Marshal(list)
	if err != nil {
		return err
	}
	header.Set(proxyStatus, value)
	return nil
}

// receivedMembers are those that are passed on.
func receivedMembers(values []string) (passed httpsfv.List) {
	size := 0
	for _, value := range values {
		size += len(value)
	}
	if size > maxReceivedRead {
		return nil
	}
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		return nil
	}
	room := maxReceived
	for _, member := range list[:min(len(list), maxReceivedMembers)] {
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue
		}
		switch item.Value.(type) {
		case httpsfv.Token, string:
		default:
			continue // no name of a proxy
		}
		text, err := httpsfv.Marshal(item)
		if err != nil {
			continue
		}
		if room -= len(text) + len(", "); room < 0 {
			break
		}
		passed = append(passed, item)
	}
	return passed
}

// addProxyDetails adds what only those may know who see the details.
func addProxyDetails(params *httpsfv.Params, f *failure.Failure) {
	if n := len(f.Attempts); n > 0 {
		last := f.Attempts[n-1]
		if hop := asciiOnly(last.Address); hop != "" {
			params.Add("next-hop", hop)
		}
		if f.ProxyError == "tls_alert_received" && last.TLSAlert != nil {
			params.Add("alert-id", int64(*last.TLSAlert))
		}
	}
	if details := asciiOnly(f.Summary); details != "" {
		params.Add("details", details)
	}
}

// asciiOnly gives s where a structured field's string can hold it (RFC 8941, 3.3.3).
func asciiOnly(s string) string {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return s
}
