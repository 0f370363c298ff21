package host

import "time"

// Published is a port of this machine on which docker-proxy takes connections for a
// container, whether anybody listens in it or not.
type Published struct {
	Port uint16
	// To is the container's address and port.
	To string
}

var published = kept[Published]{read: publishedPorts}

// PublishedPort is what docker-proxy hands on to from a port of this machine.
func PublishedPort(port uint16) (to string, ok bool) {
	list, _ := published.now(time.Now())
	for _, p := range list {
		if p.Port == port {
			return p.To, true
		}
	}
	return "", false
}
