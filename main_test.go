package diagnostics

import (
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

func TestMain(m *testing.M) { testcaddy.Main(m) }
