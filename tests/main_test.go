package tests

import (
	"testing"

	_ "github.com/seed-0f014f16/caddy-upstream-diagnostics"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

func TestMain(m *testing.M) { testcaddy.Main(m) }
