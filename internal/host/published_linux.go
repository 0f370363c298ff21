package host

import (
	"bytes"
	"net"
	"os"
	"strconv"
	"strings"
)

// Bounds of what is looked at for docker-proxy: how many processes, and how much of one's
// command line.
const (
	maxProcesses   = 4096
	maxCommandLine = 1024
)

// publishedPorts lists the ports that docker-proxy takes connections on, one process for
// each. Their command lines are open to everybody, unless the system hides processes.
func publishedPorts() (found []Published, known bool) {
	folder, err := os.Open("/proc")
	if err != nil {
		return nil, false
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(maxProcesses)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' || !startsWith("/proc/"+name+"/comm", "docker-proxy") {
			continue
		}
		known = true
		line := make([]byte, maxCommandLine)
		n := readStart("/proc/"+name+"/cmdline", line)
		if p, ok := publishedBy(line[:n]); ok {
			found = append(found, p)
		}
	}
	return found, known
}

func startsWith(path, text string) bool {
	start := make([]byte, len(text))
	return string(start[:readStart(path, start)]) == text
}

func readStart(path string, into []byte) int {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	n, _ := file.Read(into)
	return max(0, n)
}

// publishedBy reads docker-proxy's command line.
func publishedBy(line []byte) (p Published, ok bool) {
	var ip, port, proto string
	words := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	for i := range len(words) - 1 {
		switch value := words[i+1]; words[i] {
		case "-proto":
			proto = value
		case "-host-port":
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				return Published{}, false
			}
			p.Port = uint16(n)
		case "-container-ip":
			ip = value
		case "-container-port":
			port = value
		}
	}
	p.To = net.JoinHostPort(ip, port)
	return p, proto == "tcp" && p.Port > 0 && ip != "" && port != ""
}
