package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// docker-proxy is told by its name and its command line, which everybody may read.
func TestPublishedPort(t *testing.T) {
	linuxOnly(t)
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "docker-proxy")
	if err := os.WriteFile(program, shell, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", "echo; read line", "-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", "8080", "-container-ip", "172.17.0.2", "-container-port", "3000")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	if _, err := out.Read(make([]byte, 1)); err != nil { // it runs
		t.Fatal(err)
	}
	published.at = time.Time{}
	defer func() { published.at = time.Time{} }()
	if to, ok := PublishedPort(8080); !ok || to != "172.17.0.2:3000" {
		t.Errorf("got %q, %v", to, ok)
	}
	if to, ok := PublishedPort(3000); ok {
		t.Errorf("a port that nobody published leads to %q", to)
	}
}

func BenchmarkPublishedPorts(b *testing.B) {
	for b.Loop() {
		publishedPorts()
	}
}
