// Package faults has the tests that meet every fault of the lab behind a whole Caddy: first
// and alone, over every way, and in every situation.
package faults
