// Package e2e has no code of its own: its tests run a Caddy with this module, as
// its users build it, against the servers that they run behind it (nginx, HAProxy,
// php-fpm, Node, gunicorn, uvicorn, gRPC, databases), and read what it recorded
// from the admin endpoint, its metrics from Prometheus and its traces from a
// collector. The examples for Prometheus, Alertmanager and Grafana are held to what
// these programs take and answer. They run on Linux. A server that isn't installed is skipped, with the
// name of the Debian package that has it.
//
// TestDocPictures draws the pictures of docs/img anew:
//
//	DOCS_PICTURES=../docs/img go test -run DocPictures .
package e2e
