package cause

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// catalogue is what the table promises: name, category, proxy_error, phase, side,
// status. "–" and "=" stand for none and for Caddy's own.
const catalogue = `
upstreams_unhealthy unavailable destination_unavailable select upstream =
upstreams_full unavailable connection_limit_reached select proxy =
upstreams_missing unavailable destination_not_found select proxy =
upstream_lookup_failed unreachable dns_error select network =
dial_address_invalid unavailable proxy_configuration_error select proxy =
proxy_loop unavailable proxy_loop_detected connect proxy =
dns_name_not_found unreachable dns_error dns network =
dns_server_failed unreachable dns_error dns network =
dns_timeout timeout dns_timeout dns network 504
connection_refused unavailable connection_refused connect upstream =
socket_backlog_full unavailable connection_limit_reached connect upstream =
connect_timeout timeout connection_timeout connect network 504
host_unreachable unreachable destination_ip_unroutable connect network =
network_unreachable unreachable destination_ip_unroutable connect network =
connect_prohibited unreachable destination_ip_prohibited connect network =
address_family_unavailable unreachable destination_ip_unroutable connect proxy =
local_address_unavailable unreachable proxy_configuration_error connect proxy =
ports_exhausted unavailable proxy_internal_error connect proxy =
file_descriptors_exhausted unavailable proxy_internal_error connect proxy =
socket_not_found unavailable destination_unavailable connect upstream =
socket_permission_denied unavailable proxy_configuration_error connect proxy =
forward_proxy_failed unreachable – connect network =
tls_not_spoken unreachable tls_protocol_error tls proxy =
tls_closed unreachable tls_protocol_error tls upstream =
tls_timeout timeout connection_timeout tls upstream 504
certificate_untrusted unreachable tls_certificate_error tls proxy =
certificate_expired unreachable tls_certificate_error tls upstream =
certificate_not_yet_valid unreachable tls_certificate_error tls upstream =
certificate_name_mismatch unreachable tls_certificate_error tls proxy =
certificate_invalid unreachable tls_certificate_error tls upstream =
client_certificate_rejected unreachable tls_alert_received tls proxy =
tls_server_name_rejected unreachable tls_alert_received tls proxy =
tls_version_unsupported unreachable tls_alert_received tls upstream =
tls_alert unreachable tls_alert_received tls upstream =
tls_malformed invalid_response tls_protocol_error tls upstream =
tls_renegotiation_refused unreachable tls_protocol_error wait proxy =
request_write_timeout timeout connection_write_timeout send upstream 504
request_write_failed interrupted connection_terminated send upstream =
client_upload_failed request http_request_error send client =
request_not_sendable unavailable proxy_configuration_error send proxy =
retried_without_body interrupted proxy_internal_error send proxy =
keepalive_race interrupted connection_terminated wait proxy =
closed_before_response interrupted connection_terminated wait upstream =
reset_before_response interrupted connection_terminated wait upstream =
connection_lost interrupted connection_terminated wait network =
response_timeout timeout http_response_timeout wait upstream 504
read_timeout timeout connection_read_timeout wait upstream 504
stream_reset interrupted connection_terminated wait upstream =
goaway interrupted connection_terminated wait upstream =
response_cut_in_headers interrupted http_response_incomplete headers upstream =
not_http invalid_response http_protocol_error headers upstream =
tls_expected invalid_response http_protocol_error headers proxy =
http_version_mismatch invalid_response http_protocol_error headers proxy =
response_malformed invalid_response http_protocol_error headers upstream =
response_headers_too_large invalid_response http_response_header_section_size headers upstream =
http_framing_error invalid_response http_protocol_error headers upstream =
fastcgi_malformed invalid_response http_protocol_error headers upstream =
upgrade_failed invalid_response http_upgrade_failed headers upstream 502
forward_proxy_answered error_response proxy_configuration_error headers proxy =
transfer_coding_invalid invalid_response http_response_transfer_coding headers upstream =
upload_cut_by_early_response interrupted proxy_internal_error body proxy =
response_truncated interrupted http_response_incomplete body upstream =
response_length_exceeded invalid_response http_protocol_error body upstream =
response_stalled timeout connection_read_timeout body upstream =
content_coding_invalid invalid_response http_response_content_coding body upstream =
client_closed_request request – – client =
upstream_status error_response – headers upstream =
unknown unknown – – – =
`

func TestTheTableIsTheCatalogue(t *testing.T) {
	var got []string
	for r := range Rows() {
		status := "="
		if r.Status != 0 {
			status = map[int]string{502: "502", 504: "504"}[r.Status]
		}
		columns := []string{r.Name, string(r.Category), r.ProxyError, string(r.Phase), string(r.Side), status}
		for i := range columns {
			columns[i] = orText(columns[i], "–")
		}
		got = append(got, strings.Join(columns, " "))
	}
	want := strings.Split(strings.TrimSpace(catalogue), "\n")
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			g, w := "", ""
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				w = want[i]
			}
			if g != w {
				t.Errorf("row %d:\n got %s\nwant %s", i, g, w)
			}
		}
	}
}

func TestEveryRowHasItsWords(t *testing.T) {
	placeholder := regexp.MustCompile(`\{[^}]*\}?`)
	known := []string{"{upstream}", "{address}", "{limit}"}
	names := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)+$`)
	seen := make(map[string]bool)
	for r := range Rows() {
		t.Run(r.Name, func(t *testing.T) {
			if seen[r.Name] {
				t.Error("the name is there twice")
			}
			seen[r.Name] = true
			if ByName(r.Name) != r {
				t.Error("not found by its name")
			}
			for what, words := range map[string]string{"summary": r.Summary, "advice": r.Advice} {
				if words == "" || !strings.HasSuffix(words, ".") || strings.Contains(words, "\n") {
					t.Errorf("%s is no sentence: %q", what, words)
				}
				for _, p := range placeholder.FindAllString(words, -1) {
					if !slices.Contains(known, p) {
						t.Errorf("%s has the placeholder %s, which nothing fills", what, p)
					}
				}
				if filled := fillIn(words, "app:8080", "10.0.0.7:8080", nil); strings.ContainsAny(filled, "{}") {
					t.Errorf("%s is left unfilled: %q", what, filled)
				}
			}
			if r.Rivals == nil {
				t.Error("rivals must be an empty list, not null")
			}
			for _, rival := range r.Rivals {
				if rival.Cause == "" || rival.RuledOutBy == "" || rival.Cause == r.Name {
					t.Errorf("a rival lacks words: %+v", rival)
				}
				if names.MatchString(rival.Cause) && ByName(rival.Cause) == nil {
					t.Errorf("the rival %s has no row", rival.Cause)
				}
			}
		})
	}
	if ByName("no_such_cause") != nil {
		t.Error("a name that is none was found")
	}
}

// A row that isn't in the table would be found and never documented.
func TestEveryRowIsInTheTable(t *testing.T) {
	declaration := regexp.MustCompile(`(?m)^var \w+ = &Row\{$`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		declared += len(declaration.FindAll(source, -1))
	}
	if listed := slices.Collect(Rows()); declared != len(listed) {
		t.Errorf("%d rows are declared, %d are in the table", declared, len(listed))
	}
}

func TestNoteworthy(t *testing.T) {
	for status, want := range map[int]bool{200: false, 500: false, 501: false, 502: true, 503: true, 504: true, 505: false, 519: false, 520: true, 530: true, 531: false} {
		if noteworthy(status) != want {
			t.Errorf("noteworthy(%d) = %v", status, !want)
		}
	}
}
