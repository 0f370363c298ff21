package upstreams

import (
	"os"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/listen"
)

// FindScripts looks whether Caddy itself has the scripts that php-fpm refused: at the same
// place below the site's root. It is asked for such an answer alone.
func FindScripts(heard *listen.Heard) {
	for i := range heard.Attempts {
		if a := &heard.Attempts[i]; a.RefusesScript() && a.Request != nil {
			if name := scriptHere(a); name != "" {
				a.HasScript(name)
			}
		}
	}
}

// scriptHere is the name of an attempt's script, "" where Caddy has no such file.
func scriptHere(a *listen.Attempt) string {
	ctx := a.Request.Context()
	root, _ := caddyhttp.GetVar(ctx, "root").(string)
	if root == "" {
		root = "." // as Caddy's transport of FastCGI has it
	}
	script := caddyhttp.NormalizedPath(a.Request.URL.Path, true)
	const extension = ".php" // where php_fastcgi parts a script's path from what follows
	if i := strings.Index(strings.ToLower(script), extension); i >= 0 {
		script = script[:min(i+len(extension), len(script))]
	}
	info, err := os.Stat(caddyhttp.SanitizedPathJoin(root, script))
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path.Base(script)
}
