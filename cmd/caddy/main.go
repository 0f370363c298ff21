// Command caddy is a Caddy with this module in it, as xcaddy would build it.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed-0f014f16/caddy-upstream-diagnostics"
)

func main() { caddycmd.Main() }
