package faults

import (
	"testing"

	_ "github.com/seed-0f014f16/caddy-upstream-diagnostics"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

func TestMain(m *testing.M) {
	faultlab.OwnResolver() // for transports that can't be told of a name server
	testcaddy.Main(m)
}
