package host

import (
	"os"
	"sync"
)

// InContainer says whether this process runs in a container, as far as that can be told:
// what is said of this machine is of the container then.
var InContainer = sync.OnceValue(func() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return os.Getenv("KUBERNETES_SERVICE_HOST") != ""
})

// InDocker says whether this process runs in a container of Docker's, and none of
// Kubernetes', which has a network of its own.
var InDocker = sync.OnceValue(func() bool {
	_, err := os.Stat("/.dockerenv")
	return err == nil && os.Getenv("KUBERNETES_SERVICE_HOST") == ""
})

// Here is what people call where this process runs.
func Here() string {
	if InContainer() {
		return "this container"
	}
	return "this machine"
}
