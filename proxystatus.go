package diagnostics

import (
	"net/http"

	"github.com/dunglas/httpsfv"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// addProxyStatus adds our member to the Proxy-Status field (RFC 9209) of an answer
// that is yet to be written. Members of those nearer to the upstream stay before it.
// A field that is malformed is dropped, as Caddy does where it sends one itself.
func addProxyStatus(header http.Header, name string, f *failure.Failure, details bool) error {
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
	if len(member.Params.Names()) == 0 {
		return nil // it would say nothing
	}
	if details {
		addProxyDetails(member.Params, f)
	}

	list, err := httpsfv.UnmarshalList(header.Values("Proxy-Status"))
	if err != nil {
		list = nil
	}
	value, err := httpsfv.Marshal(append(list, member))
	if err != nil {
		return err
	}
	header.Set("Proxy-Status", value)
	return nil
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
