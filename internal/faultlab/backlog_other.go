//go:build !linux

package faultlab

import "errors"

func fillTCPBacklog() (address string, release func() error, err error) {
	return "", nil, errors.New(needsLinux)
}

func fillUnixBacklog(string) (release func() error, err error) {
	return nil, errors.New(needsLinux)
}

func listenUnheard() (address string, release func() error, err error) {
	return "", nil, errors.New(needsLinux)
}
