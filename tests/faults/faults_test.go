package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/cause"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/texts"
)

// Every broken upstream of the lab, behind a real Caddy, is named right.
func TestFaults(t *testing.T) {
	testFaults(t, faultlab.Faults())
}

func testFaults(t *testing.T, faults []faultlab.Fault) {
	t.Helper()
	testcaddy.RecordsAbandoned(t)
	for _, fault := range faults {
		t.Run(fault.Name, func(t *testing.T) {
			if fault.Skip != "" {
				t.Skip(fault.Skip)
			}
			broken, options := testcaddy.Break(t, fault)
			c := testcaddy.StartWith(t, options, "upstream_diagnostics\n"+broken.Caddyfile())

			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			answer, err := broken.Visit(ctx, c.URL+"/order?token=secret")
			if err != nil {
				t.Fatal(err)
			}
			if fault.Cause == "" {
				c.Idle()
				if list := c.Failures(); len(list) > 0 && list[0].Cause != fault.OrCause && list[0].Cause != "unknown" {
					t.Errorf("recorded as %s", list[0].Cause)
				}
				return
			}
			f := c.Newest(fault.Cause)
			if f.Cause == fault.OrCause {
				return
			}
			got := []string{f.Cause, string(f.Phase), string(f.Side), string(f.Outcome)}
			want := []string{fault.Cause, fault.Phase, fault.Side, fault.Outcome}
			if fault.OrCause == "response_truncated" && f.Outcome == failure.Truncated {
				want[3] = string(failure.Truncated) // what could be read of the answer tells, the rest was reset
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("got %v, want %v", got, want)
			}
			if fault.RequestSent != "" && string(f.RequestSent) != fault.RequestSent {
				t.Errorf("request_sent is %s, want %s", f.RequestSent, fault.RequestSent)
			}
			row := cause.ByName(f.Cause)
			if row == nil {
				t.Fatalf("%s is no row", f.Cause)
			}
			if f.RequestSent == failure.SentYes && f.Outcome != failure.Rescued && (f.Category == failure.CategoryUnavailable || f.Category == failure.CategoryUnreachable) {
				t.Errorf("%s answered, and visitors are told: %s", f.Cause, texts.English().Of(f.Public()).Detail)
			}
			status := fault.Status
			switch {
			case row.Status != 0 && f.Outcome == failure.Failed:
				status = row.Status
			case row == cause.ClientUploadFailed && status == http.StatusBadGateway:
				status = http.StatusBadRequest // it was the client's doing
			}
			if answer.Status != 0 && f.Status != answer.Status {
				t.Errorf("recorded status %d, the client got %d", f.Status, answer.Status)
			}
			if answer.Status != 0 && answer.Status != status && answer.Status != fault.OrStatus {
				t.Errorf("the client got %d, want %d", answer.Status, status)
			}
			// A 499 was written by Caddy itself.
			if f.Outcome == failure.Failed && answer.Status != 499 && answer.Header.Get("Upstream-Failure-Id") != f.ID {
				t.Errorf("the client got the reference %q, recorded is %q", answer.Header.Get("Upstream-Failure-Id"), f.ID)
			}
			if strings.Contains(f.Request.URI, "secret") {
				t.Errorf("kept: %s", f.Request.URI)
			}
			if t.Failed() || testing.Verbose() {
				record, _ := json.MarshalIndent(f, "", "  ")
				t.Logf("%s", record)
			}
		})
	}
}
