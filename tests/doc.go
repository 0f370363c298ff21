// Package tests has the tests that need a whole Caddy: what people met, storms, secrets,
// hostile peers. The two packages in it have the lab's faults and transparency; they are
// apart so that they run side by side, for most of their time is waiting.
package tests
