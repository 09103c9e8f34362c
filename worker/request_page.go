package worker

import (
	nethttp "net/http"

	"github.com/pushd/pushd/worker/record"
)

// ForgetQuery keeps the query, which may hold a token, from being stored with the
// connection, should the answer become a stream. The request keeps it.
func (r *Request) ForgetQuery() { r.conn.remember(record.Query, "", "") }

// AskedHost returns the host that the client has asked for: Host, or what a trusted
// proxy says in X-Forwarded-Host.
func (r *Request) AskedHost() string {
	return r.conn.believe(r.Host, func(name string) []string { return r.Header.Values(name) })
}

// Secure reports whether the request came by an encrypted connection: TLS of ours,
// or that of a trusted proxy, which says so in X-Forwarded-Proto.
func (r *Request) Secure() bool {
	c := r.conn
	if c.session != nil {
		return true
	}
	list := r.Header.Values("X-Forwarded-Proto")
	return len(list) == 1 && list[0] == "https" && c.loop.proxies.Believed(c.peer().Addr())
}

// Allowed reports whether a page of another origin may read the answer, by the
// origins of the route, and says so in the header, with credentials; a page of the
// own host needs no word. It is the answer to a preflight request, too. A request
// without Origin is not a page's.
func (r *Request) Allowed(w *Response) bool {
	w.header.Add("Vary", "Origin")
	list := r.Header.Values("Origin")
	if len(list) == 0 {
		return true
	}
	if len(list) > 1 || !r.conn.route.origins.Allows(list[0], r.AskedHost()) {
		return false
	}
	w.header.Set("Access-Control-Allow-Origin", list[0])
	w.header.Set("Access-Control-Allow-Credentials", "true")
	if r.Method == nethttp.MethodOptions {
		w.header.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, Last-Event-ID")
		w.header.Set("Access-Control-Max-Age", "3600")
	}
	return true
}
