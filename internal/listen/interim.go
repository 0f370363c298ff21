package listen

import (
	"bytes"
	"net/http"
)

// Final is what came first of a final answer, as far as it was kept: interim answers go
// before it, and are none.
func (c *Carried) Final() []byte {
	final, _ := c.final()
	return final
}

// final also says which status the last interim answer had, 0 for none.
func (c *Carried) final() (final []byte, interim int) {
	if c == nil || c.Encrypted {
		return nil, 0
	}
	const end = "\r\n\r\n"
	for final = c.Head; ; {
		status := interimStatus(final)
		if status == 0 {
			return final, interim
		}
		interim = status
		header := bytes.Index(final, []byte(end))
		if header < 0 {
			return nil, interim // it was cut
		}
		final = final[header+len(end):]
	}
}

// interimStatus is the status of the interim answer of HTTP/1 that begins so; 0 where it
// is none.
func interimStatus(head []byte) int {
	const line = "HTTP/1.1 100"
	if len(head) < len(line) || !bytes.HasPrefix(head, []byte("HTTP/1.")) || head[len(line)-4] != ' ' || head[len(line)-3] != '1' {
		return 0
	}
	tens, ones := head[len(line)-2]-'0', head[len(line)-1]-'0'
	status := 100 + 10*int(tens) + int(ones)
	if tens > 9 || ones > 9 || status == http.StatusSwitchingProtocols {
		return 0
	}
	if rest := head[len(line):]; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
		return 0 // a status of four digits is none
	}
	return status
}

// onlyInterim says that interim answers came and nothing of a final one, and which came
// last: heard is the one that the trace told of. Where bytes can't be read, nobody knows
// of a byte of a final one.
func (c *Carried) onlyInterim(heard int) (interim int, only bool) {
	final, interim := c.final()
	if interim == 0 {
		interim = heard
	}
	return interim, interim != 0 && len(final) == 0
}
