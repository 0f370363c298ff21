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

// Here is what people call where this process runs.
func Here() string {
	if InContainer() {
		return "this container"
	}
	return "this machine"
}
