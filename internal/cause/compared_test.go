package cause

import (
	"slices"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
)

// What a failure has by its cause alone is not compared.
func TestCompares(t *testing.T) {
	for _, test := range []struct {
		row  *Row
		want []failure.ChangeKind // not compared
	}{
		{UpstreamStatus, nil},
		{KeepaliveRace, []failure.ChangeKind{failure.ChangeConnection}},
		{ClosedBeforeResponse, []failure.ChangeKind{failure.ChangeConnection}},
		{ConnectionRefused, []failure.ChangeKind{failure.ChangeConnection}},
		{RequestWriteFailed, []failure.ChangeKind{failure.ChangeMethod, failure.ChangeConnection}},
		{UpgradeFailed, []failure.ChangeKind{failure.ChangeMethod, failure.ChangeProtocol, failure.ChangeConnection}},
		{Unknown, []failure.ChangeKind{failure.ChangeConnection}},
	} {
		t.Run(test.row.Name, func(t *testing.T) {
			for _, kind := range failure.ChangeKinds {
				if Compares(test.row.Name, kind) == slices.Contains(test.want, kind) {
					t.Errorf("%s", kind)
				}
			}
		})
	}
}
