package failure

import "strings"

// Own copies every text of f into one piece of memory that is f's own. A text is often
// a part of something larger, which would stay in memory as long as the record: the
// method is a part of the whole request line.
func (f *Failure) Own() {
	var room [64]*string
	texts := f.texts(room[:0])
	size := 0
	for _, text := range texts {
		size += len(*text)
	}
	var all strings.Builder
	all.Grow(size) // all that it takes, or what was given out would be of a piece before
	for _, text := range texts {
		start := all.Len()
		all.WriteString(*text)
		*text = all.String()[start:]
	}
}

// texts adds to found every string of f that is not empty and may be a part of something
// larger. The program's own words aren't: the types of this package, causes, the instance,
// ids of incidents. Nor are the keys of Request.Headers, which are the config's.
func (f *Failure) texts(found []*string) []*string {
	add := func(texts ...*string) {
		for _, text := range texts {
			if *text != "" {
				found = append(found, text)
			}
		}
	}
	add(&f.ID, &f.Site, &f.Upstream, &f.Summary, &f.Advice, &f.Error, &f.TraceID,
		&f.Request.Method, &f.Request.Host, &f.Request.URI, &f.Request.Proto, &f.Request.RemoteIP, &f.Request.ClientIP)
	for i := range f.Evidence {
		add(&f.Evidence[i])
	}
	if f.Limit != nil {
		add(&f.Limit.Name)
	}
	for i := range f.Attempts {
		a := &f.Attempts[i]
		add(&a.Upstream, &a.Address, &a.LocalAddress, &a.Protocol, &a.Error, &a.Errno)
	}
	for i := range f.Unavailable {
		u := &f.Unavailable[i]
		add(&u.Upstream, &u.LastFailure, &u.Check)
	}
	if r := f.Received; r != nil {
		add(&r.Server, &r.Via, &r.RetryAfter, &r.ProxyStatus, &r.GRPCStatus, &r.GRPCMessage)
	}
	for _, values := range f.Request.Headers {
		for i := range values {
			add(&values[i])
		}
	}
	return found
}
