module github.com/seed-0f014f16/caddy-upstream-diagnostics/e2e

go 1.26.0

require github.com/seed-0f014f16/caddy-upstream-diagnostics v0.0.0

replace github.com/seed-0f014f16/caddy-upstream-diagnostics => ../
