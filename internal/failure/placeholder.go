package failure

// Told is a failure, and what the visitor is told of it in words.
type Told struct {
	*Failure
	Title, Detail string
}

// Placeholder is the value of {http.upstream_diagnostics.<name>}. Of these an owner
// shows to the public what Public has and the words, and no more. Where nothing failed, t
// is nil and every value empty.
func (t *Told) Placeholder(name string) (any, bool) {
	if t == nil {
		_, known := (&Told{Failure: new(Failure)}).Placeholder(name)
		return "", known
	}
	switch name {
	case "title":
		return t.Title, true
	case "detail":
		return t.Detail, true
	}
	return t.Failure.placeholder(name)
}

func (f *Failure) placeholder(name string) (any, bool) {
	switch name {
	// what the public may see
	case "id":
		return f.ID, true
	case "category":
		return string(f.Public().Category), true
	case "request_sent":
		return string(f.Public().RequestSent), true
	// for the operator
	case "cause":
		return f.Cause, true
	case "proxy_error":
		return f.ProxyError, true
	case "phase":
		return string(f.Phase), true
	case "side":
		return string(f.Side), true
	case "outcome":
		return string(f.Outcome), true
	case "site":
		return f.Site, true
	case "upstream":
		return f.Upstream, true
	case "attempt_count":
		return f.AttemptCount, true
	case "duration_ms":
		return float64(f.DurationMS), true
	case "summary":
		return f.Summary, true
	}
	return nil, false
}
