package failure

import (
	"slices"
	"strings"
)

// An upstream is known by what is configured, and one of a dynamic source by its
// address, which only the attempts have.

// failed says that an attempt of f's failed. A client that left says nothing of the
// upstream that it waited for.
func (f *Failure) failed(a *Attempt) bool {
	return a.Cause != "" && (f.Outcome != Abandoned || a.Cause != f.Cause)
}

// Blames says that an attempt of f's failed, and not by the client's doing.
func (f *Failure) Blames(a *Attempt) bool {
	return f.failed(a) && !(a.Cause == f.Cause && f.Side == SideClient)
}

// FailedUpstreams are the names of the upstreams that failed: of the one that the
// record is about, and of those of the attempts before.
func (f *Failure) FailedUpstreams() []string {
	names := make([]string, 0, 2)
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if f.Outcome != Abandoned {
		add(f.Upstream)
	}
	for i := range f.Attempts {
		if a := &f.Attempts[i]; f.failed(a) {
			add(a.Upstream)
			add(a.Address)
		}
	}
	return names
}

// FailedAttempt is the last attempt that failed at an upstream of that name, nil where
// none is kept.
func (f *Failure) FailedAttempt(upstream string) *Attempt {
	for i := len(f.Attempts) - 1; i >= 0; i-- {
		if a := &f.Attempts[i]; f.failed(a) && (a.Upstream == upstream || a.Address == upstream) {
			return a
		}
	}
	return nil
}

// Blame is the cause by which f failed at an upstream of that name, or at that address, and
// not by the client's doing; "" for none.
func (f *Failure) Blame(upstream string) (cause string) {
	for i := len(f.Attempts) - 1; i >= 0; i-- {
		if a := &f.Attempts[i]; f.Blames(a) && (a.Upstream == upstream || a.Address == upstream) {
			return a.Cause
		}
	}
	if f.Upstream == upstream && f.Outcome != Abandoned && f.Side != SideClient {
		return f.Cause
	}
	return ""
}

// concerns says that the record is about an upstream of that name or address, or that one
// failed before, or could not be selected.
func (f *Failure) concerns(upstream string) bool {
	return f.Upstream == upstream ||
		slices.ContainsFunc(f.Attempts, func(a Attempt) bool { return a.Cause != "" && (a.Upstream == upstream || a.Address == upstream) }) ||
		slices.ContainsFunc(f.Unavailable, func(u Unavailable) bool { return u.Upstream == upstream })
}

// belongsTo says that f, or an attempt of it, counts for that incident.
func (f *Failure) belongsTo(incident string) bool {
	return f.Incident == incident || slices.ContainsFunc(f.Attempts, func(a Attempt) bool { return a.Incident == incident })
}

// ownPlaceholders are the beginnings of those that stand for what is the owner's.
var ownPlaceholders = []string{"env.", "file.", "system.", "time."}

// Expands says whether a configured text has placeholders that aren't the owner's own:
// what they stand for may be the client's.
func Expands(configured string) bool {
	for rest := configured; ; {
		_, after, ok := strings.Cut(rest, "{")
		name, behind, closed := strings.Cut(after, "}")
		if !ok || !closed {
			return false
		}
		if !slices.ContainsFunc(ownPlaceholders, func(begins string) bool { return strings.HasPrefix(name, begins) }) {
			return true
		}
		rest = behind
	}
}
