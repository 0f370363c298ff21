package diagnostics

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/seed-0f014f16/caddy-upstream-diagnostics/internal/journal"
)

// Defaults of what one config says for the whole process.
const (
	defaultKeep    = 1000
	defaultKeepFor = 24 * time.Hour
)

// process is what outlives a config: one for all configs that are loaded at a
// time, so that a reload keeps it.
type process struct {
	journal *journal.Journal
	storm   storm
	// instance is this instance's name.
	instance atomic.Pointer[string]
}

// processes holds the one process, under processKey, as long as a config needs it.
var processes = caddy.NewUsagePool()

const processKey = "process"

// acquireProcess gives the process, and makes it for who comes first. release must
// be called once.
func acquireProcess() (p *process, release func() error, err error) {
	value, _, err := processes.LoadOrNew(processKey, func() (caddy.Destructor, error) {
		p := &process{journal: journal.New(defaultKeep, defaultKeepFor)}
		p.setInstance("")
		return p, nil
	})
	if err != nil {
		return nil, nil, err
	}
	release = func() error {
		_, err := processes.Delete(processKey)
		return err
	}
	return value.(*process), release, nil
}

// currentProcess gives the process without holding it; nil where no config does.
func currentProcess() *process {
	var p *process
	processes.Range(func(_, value any) bool {
		p, _ = value.(*process)
		return false
	})
	return p
}

// Destruct implements caddy.Destructor. Requests that outlive their config may
// still record: that must do no harm, and does none.
func (p *process) Destruct() error { return nil }

// setInstance names this instance; "" is the host name.
func (p *process) setInstance(name string) {
	if name == "" {
		name, _ = os.Hostname() // without one the field is left out
	}
	p.instance.Store(&name)
}
