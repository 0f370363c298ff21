// Package tests has the tests that need a whole Caddy: every fault over every way,
// transparency, storms, hostile peers.
package tests
