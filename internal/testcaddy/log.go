package testcaddy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// LoggerName is the name of the logger of our handlers.
const LoggerName = "http.handlers.upstream_diagnostics"

// LogMessage is what an entry of a failure says.
const LogMessage = "upstream failure"

// LogFile is a log that Caddy writes.
type LogFile struct {
	T    *testing.T
	Path string
}

// NewLogFile is one that ends with the test.
func NewLogFile(t *testing.T) *LogFile {
	t.Helper()
	return &LogFile{t, filepath.Join(t.TempDir(), "log.json")}
}

// Block is the log's config, with what is given in it.
func (l *LogFile) Block(more string) string {
	return "{\noutput file " + l.Path + " {\nroll_disabled\n}\nformat json\n" + more + "\n}"
}

// OfOurs are the global options that write what our handlers log.
func (l *LogFile) OfOurs() string {
	return "log ours " + l.Block("include "+LoggerName+" http.handlers.upstream_dashboard")
}

// Entries gives what was logged with that message; each line must be JSON.
func (l *LogFile) Entries(message string) (entries []map[string]any) {
	l.T.Helper()
	content, err := os.ReadFile(l.Path)
	if err != nil && !os.IsNotExist(err) {
		l.T.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if !strings.HasSuffix(line, "\n") {
			continue // being written
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			l.T.Fatalf("%v in %s", err, line)
		}
		if message == "" || entry["msg"] == message {
			entries = append(entries, entry)
		}
	}
	return entries
}

// Wait waits for that many entries and gives them.
func (l *LogFile) Wait(message string, n int) (entries []map[string]any) {
	l.T.Helper()
	Eventually(l.T, strconv.Itoa(n)+" log entries", func() bool {
		entries = l.Entries(message)
		return len(entries) >= n
	})
	if len(entries) > n {
		l.T.Fatalf("%d log entries, want %d: %v", len(entries), n, entries)
	}
	return entries
}
