//go:build unix

package faultlab

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// descriptorLimit is low enough for all of them to be used up quickly.
const descriptorLimit = 512

// startDescriptorsExhausted makes a good upstream, and uses up this process's file
// descriptors once the client is connected: so it works only for a proxy in this
// process.
func startDescriptorsExhausted() (*Upstream, error) {
	u, err := overTCP(answers(good))()
	if err != nil {
		return nil, err
	}
	u.before = func(v *visitor) (func(), error) {
		if err := v.warm(); err != nil {
			return nil, err
		}
		return exhaustDescriptors()
	}
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
	take := func() error {
		for {
			file, err := os.Open(os.DevNull)
			switch {
			case errors.Is(err, syscall.EMFILE):
				return nil
			case err != nil:
				return err
			}
			files = append(files, file)
		}
	}
	err = take()
	ended := make(chan struct{})
	var taking sync.WaitGroup
	taking.Go(func() {
		// What others of this process give back meanwhile must not be the proxy's.
		again := time.NewTicker(time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				_ = take() // the next one tells
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		taking.Wait()
		for _, file := range files {
			_ = file.Close()
		}
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}, err
}
