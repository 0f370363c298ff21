//go:build !linux

package host

// publishedPorts can't be told here.
func publishedPorts() ([]Published, bool) { return nil, false }
