package tests

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/failure"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/faultlab"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/host"
	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/testcaddy"
)

// inNetwork runs this very test again in a network of its own, and says whether this is
// that.
func inNetwork(t *testing.T) bool {
	t.Helper()
	if faultlab.Isolated() {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs iproute2")
	}
	again, err := faultlab.Isolate("-test.run=^"+t.Name()+"$", "-test.v")
	if err != nil {
		t.Fatal(err)
	}
	if out := testcaddy.RunAgain(t, again); !strings.Contains(out, "--- PASS: "+t.Name()) && !strings.Contains(out, "--- SKIP: "+t.Name()) {
		t.Errorf("it was not tried:\n%s", out)
	}
	return false
}

// behindRouter gives this network an address in 172.20.0.0/16, and a router there, which
// does these commands.
func behindRouter(t *testing.T, router string) {
	t.Helper()
	// The router is a process with a network namespace of its own.
	other := exec.Command("unshare", "-n", "cat")
	end, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	before, err := exec.Command("readlink", "/proc/self/ns/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { end.Close(); _ = other.Wait() })
	script := `set -e
pid=$1; n=0
while [ "$(readlink /proc/$pid/ns/net)" = "$2" ]; do n=$((n+1)); [ $n -lt 200 ]; sleep .02; done
ip link set lo up
ip link add eth0 type veth peer name gw
ip link set gw netns $pid
ip addr add 172.20.0.2/16 dev eth0
ip link set eth0 up
nsenter -t $pid -n sh -c "ip link set lo up; ip addr add 172.20.0.1/16 dev gw; ip link set gw up; echo 1 >/proc/sys/net/ipv4/ip_forward; $3"
ip route add default via 172.20.0.1
`
	out, err := exec.Command("sh", "-c", script, "sh", strconv.Itoa(other.Process.Pid), strings.TrimSpace(string(before)), router).CombinedOutput()
	if err != nil {
		t.Skipf("this system does not allow it: %v: %s", err, out)
	}
}

// askAddress is the record of a request to an upstream at this address.
func askAddress(t *testing.T, upstream, cause string) *failure.Failure {
	t.Helper()
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy "+upstream+" {\n\ttransport http {\n\t\tdial_timeout 1s\n\t}\n}")
	c.Get("/")
	f := c.Newest(cause)
	if f.Cause != cause || f.Side != failure.SideNetwork {
		t.Errorf("%s, side %s: %q", f.Cause, f.Side, f.Evidence)
	}
	return f
}

// Somebody else's network is told from a firewall, and a router's word from our own.
func TestAddressInNoNetworkOfOurs(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	const outside = "172.19.0.3 is in none of the networks of "
	behindRouter(t, "true")
	f := askAddress(t, "172.19.0.3:8080", "network_unreachable")
	says(t, f, outside, "onnect Caddy to the network of 172.19.0.3")
	says(t, f, "(172.20.0.0/16): it goes over the gateway 172.20.0.1", "")
	says(t, f, " has a route to it: a router on the way answered that it has none", "")
	if strings.Contains(f.Summary, "his machine") {
		t.Errorf("summary: %s", f.Summary)
	}
	f = askAddress(t, "203.0.113.7:8080", "network_unreachable")
	says(t, f, "a router on the way answered that it has none", "router on the way to 203.0.113.7")

}

func TestAddressBehindASilentRouter(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	behindRouter(t, "ip route add 172.19.0.0/16 dev lo; ip route add blackhole 172.19.0.3")
	f := askAddress(t, "172.19.0.3:8080", "connect_timeout")
	says(t, f, "172.19.0.3 is in none of the networks of ", "onnect Caddy to the network of 172.19.0.3")
}

// What a container asks of its own host is often dropped by the host's firewall.
func TestHostDropsWhatItsContainersSend(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs nftables")
	}
	behindRouter(t, "nft add table ip f; nft 'add chain ip f i { type filter hook input priority 0; }'; nft add rule ip f i tcp dport 8001 drop")
	f := askAddress(t, "172.20.0.1:8001", "connect_timeout")
	says(t, f, "172.20.0.1 is in a network of this ", "")
	says(t, f, ", 172.20.0.0/16: no router is on the way", "")
	if host.InContainer() {
		says(t, f, "172.20.0.1 is the gateway of this container", "ufw allow from 172.20.0.0/16")
	}
}

// On a network of Caddy's own, nobody answers to the address that a container had before.
func TestNobodyHasTheAddress(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	behindRouter(t, "true")
	f := askAddress(t, "172.20.0.9:8001", "connect_timeout")
	says(t, f, "nobody on that network answers to 172.20.0.9 (ARP)", "A container has another one once it was made anew")
	if all := strings.Join(f.Evidence, "\n"); strings.Contains(all, "a firewall that drops packets") {
		t.Errorf("leaves a firewall open:\n%s", all)
	}
	name := resolver(t, "172.20.0.9")
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy app.example.test:8002 {\n\ttransport http {\n\t\tdial_timeout 1s\n\t\tresolvers "+name+"\n\t}\n}")
	c.Get("/")
	says(t, c.Newest("connect_timeout"), "nobody on that network answers to 172.20.0.9 (ARP)", "nobody answers to 172.20.0.9:8002, to which its name led")
}

// What listens on the host's loopback alone is not there for its containers.
func TestHostOfTheContainerRefuses(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	behindRouter(t, "true")
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy 172.20.0.1:8003")
	c.Get("/")
	f := c.Newest("connection_refused")
	if f.Side != failure.SideUpstream {
		t.Errorf("side %s", f.Side)
	}
	if host.InContainer() {
		says(t, f, "172.20.0.1 is the gateway of this container", "the host's 127.0.0.1 is not reached from containers")
	}
}

// A route that forbids a connect is told from a policy about this process.
func TestARouteForbidsAConnect(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	behindRouter(t, "true")
	if out, err := exec.Command("ip", "route", "add", "prohibit", "172.19.0.3").CombinedOutput(); err != nil {
		t.Skipf("this system does not allow it: %v: %s", err, out)
	}
	f := askAddress(t, "172.19.0.3:8080", "connect_prohibited")
	says(t, f, " itself forbids it", "ip route get 172.19.0.3")
	if strings.Contains(f.Summary+f.Advice, "policy") {
		t.Errorf("%s %s", f.Summary, f.Advice)
	}
}

// Another container has a loopback of its own, and its published port is its host's
// (unmojang/drasl#60, caddy#6855).
func TestAnotherContainerRefuses(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	behindRouter(t, "ip addr add 172.20.0.7/16 dev gw")
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy 172.20.0.7:3030")
	c.Get("/")
	f := c.Newest("connection_refused")
	if f.Side != failure.SideUpstream {
		t.Errorf("side %s", f.Side)
	}
	if host.InContainer() {
		says(t, f, "172.20.0.7 is in a network of this container, 172.20.0.0/16", "that inside the application's container, not the published one")
		says(t, f, "127.0.0.1 of its own container alone", "let it listen on 0.0.0.0")
	}
}

// A name that is this machine's by its definition leads to another one.
func TestLocalhostLeadsElsewhere(t *testing.T) {
	if !inNetwork(t) {
		return
	}
	behindRouter(t, "true")
	c := testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy app.localhost:8004 {\n\ttransport http {\n\t\tresolvers "+resolver(t, "172.20.0.1")+"\n\t}\n}")
	c.Get("/")
	f := c.Newest("connection_refused")
	if f.Side != failure.SideProxy {
		t.Errorf("side %s", f.Side)
	}
	says(t, f, "app.localhost led to 172.20.0.1, which is no address of this ", "Write 127.0.0.1 instead of app.localhost in reverse_proxy")

	// So does that of a container which is not there, by a search domain's wildcard.
	c = testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy app:8006 {\n\ttransport http {\n\t\tresolvers "+resolver(t, "203.0.113.7")+"\n\t}\n}")
	c.Get("/")
	says(t, c.Newest("network_unreachable"), "app has no dot, and led to 203.0.113.7, which is no private address", "Look whether 203.0.113.7 is meant")
	c = testcaddy.Start(t, "upstream_diagnostics\nreverse_proxy app:8007 {\n\ttransport http {\n\t\tresolvers "+resolver(t, "172.20.0.1")+"\n\t}\n}")
	c.Get("/")
	if f := c.Newest("connection_refused"); strings.Contains(strings.Join(f.Evidence, "\n"), "has no dot") {
		t.Errorf("a name nearby: %q", f.Evidence)
	}
}
