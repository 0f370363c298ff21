//go:build !unix

package faultlab

import "errors"

func startDescriptorsExhausted() (*Upstream, error) {
	return nil, errors.New("needs a limit of file descriptors")
}
