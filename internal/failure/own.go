package failure

import "strings"

// Own copies every text of f into one piece of memory that is f's own. A text is often
// a part of something larger, which would stay in memory as long as the record: the
// method is a part of the whole request line.
func (f *Failure) Own() {
	size := 0
	f.texts(func(text *string) { size += len(*text) })
	var all strings.Builder
	all.Grow(size) // all that it takes, or what was given out would be of a piece before
	f.texts(func(text *string) {
		start := all.Len()
		all.WriteString(*text)
		*text = all.String()[start:]
	})
}

// texts calls each with every string of f that is no constant of this package's types.
// The keys of Request.Headers are the config's.
func (f *Failure) texts(each func(*string)) {
	for _, text := range [...]*string{
		&f.ID, &f.Instance, &f.Site, &f.Upstream, &f.Cause, &f.ProxyError, &f.Summary, &f.Advice, &f.Error, &f.Incident, &f.TraceID,
		&f.Request.Method, &f.Request.Host, &f.Request.URI, &f.Request.Proto, &f.Request.RemoteIP, &f.Request.ClientIP,
	} {
		each(text)
	}
	for i := range f.Evidence {
		each(&f.Evidence[i])
	}
	if f.Limit != nil {
		each(&f.Limit.Name)
	}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		for _, text := range [...]*string{&a.Upstream, &a.Address, &a.LocalAddress, &a.Protocol, &a.Cause, &a.Error, &a.Errno} {
			each(text)
		}
	}
	for i := range f.Unavailable {
		each(&f.Unavailable[i].Upstream)
		each(&f.Unavailable[i].LastFailure)
		each(&f.Unavailable[i].Check)
	}
	if r := f.Received; r != nil {
		for _, text := range [...]*string{&r.Server, &r.Via, &r.RetryAfter, &r.ProxyStatus, &r.GRPCStatus, &r.GRPCMessage} {
			each(text)
		}
	}
	for _, values := range f.Request.Headers {
		for i := range values {
			each(&values[i])
		}
	}
}
