//go:build unix

package faultlab

import (
	"errors"
	"os"
	"syscall"
)

// spareDescriptors are left for the client's connection: its own end, and the
// proxy's.
const spareDescriptors = 2

// descriptorLimit is low enough for all of them to be used up quickly.
const descriptorLimit = 512

// startDescriptorsExhausted makes a good upstream, and uses up this process's file
// descriptors when the client comes: so it works only for a proxy in this process.
func startDescriptorsExhausted() (*Upstream, error) {
	u, err := overTCP(answers(good))()
	if err != nil {
		return nil, err
	}
	u.before = func(visitor) (func(), error) { return exhaustDescriptors() }
	return u, nil
}

func exhaustDescriptors() (end func(), err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	lower := limit
	lower.Cur = min(lower.Cur, descriptorLimit)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lower); err != nil {
		return nil, err
	}
	var files []*os.File
	end = func() {
		for _, file := range files {
			_ = file.Close()
		}
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	for {
		file, err := os.Open(os.DevNull)
		switch {
		case err == nil:
			files = append(files, file)
			continue
		case !errors.Is(err, syscall.EMFILE):
			return end, err
		case len(files) < spareDescriptors:
			return end, errors.New("too many descriptors are in use already")
		}
		for _, file := range files[:spareDescriptors] {
			_ = file.Close()
		}
		files = files[spareDescriptors:]
		return end, nil
	}
}
