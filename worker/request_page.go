package worker

import "github.com/pushd/pushd/worker/record"

// ForgetQuery keeps the query, which may hold a token, from being stored with the
// connection, should the answer become a stream. The request keeps it.
func (r *Request) ForgetQuery() { r.conn.remember(record.Query, "", "") }

// AskedHost returns the host that the client has asked for: Host, or what a trusted
// proxy says in X-Forwarded-Host or Forwarded.
func (r *Request) AskedHost() string { return r.conn.believe(r.Host, r.Header.Values) }

// Secure reports whether the request came by an encrypted connection: TLS of ours,
// or that of a trusted proxy, which says so in X-Forwarded-Proto or Forwarded.
func (r *Request) Secure() bool {
	c := r.conn
	if c.session != nil {
		return true
	}
	peer, proxies := c.peer().Addr(), c.loop.proxies
	if !proxies.Believed(peer) {
		return false
	}
	if list := r.Header.Values("X-Forwarded-Proto"); len(list) > 0 {
		return len(list) == 1 && list[0] == "https"
	}
	return proxies.Read(peer, r.Header.Values).Proto == "https"
}
