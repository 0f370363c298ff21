// Package transparency has the tests that compare what passes through a whole Caddy with us
// and without us.
package transparency
