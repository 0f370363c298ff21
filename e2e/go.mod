module github.com/seed-0f014f16/caddy-upstream-diagnostics/e2e

go 1.26.0

require (
	github.com/seed-0f014f16/caddy-upstream-diagnostics v0.0.0
	google.golang.org/grpc v1.83.2
)

require (
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260921155816-b14227669459 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/seed-0f014f16/caddy-upstream-diagnostics => ../
