package worker

import (
	nethttp "net/http"
	"strings"
)

// corsAge is how long a browser may remember the answer to a preflight, in
// seconds.
const corsAge = "600"

// AllowOrigin puts a request of a browser under the route's Origins, as upgrades
// are, and lets the page read the answer (CORS). methods are those of the
// resource, "GET, POST". With false the request is answered: a preflight with 204,
// a page from elsewhere with 403, one that names several origins with 400. Call it
// first in OnRequest.
//
// The page's own origin and those that Origins names may send cookies with it;
// who comes in by "*" or as "null" may not, since that is anybody.
func (w *Response) AllowOrigin(r *Request, methods string) bool {
	c, h := w.c, w.header
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if len(r.Header.Values("Origin")) > 1 { // as of an upgrade: which one would count?
		c.loop.refused("origin", c.RemoteAddr(), "more than one Origin")
		w.fail(nethttp.StatusBadRequest, "more than one Origin")
		return false
	}
	if origin == "" {
		return r.Method != nethttp.MethodOptions || w.preflight(r, methods)
	}
	host := c.believe(r.Host, func(name string) []string { return r.Header.Values(name) })
	o := &c.route.origins
	if !o.Allows(origin, host) {
		c.loop.refusedOrigin(c, origin, host)
		w.fail(nethttp.StatusForbidden, "origin not allowed")
		return false
	}
	switch {
	case o.Names(origin, host):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	case o.Any():
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		h.Set("Access-Control-Allow-Origin", origin)
	}
	return r.Method != nethttp.MethodOptions || w.preflight(r, methods)
}

// preflight answers OPTIONS.
func (w *Response) preflight(r *Request, methods string) bool {
	h := w.header
	h.Set("Allow", methods+", OPTIONS")
	if r.Header.Get("Access-Control-Request-Method") != "" {
		h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
		h.Set("Access-Control-Allow-Methods", methods)
		if asked := r.Header.Get("Access-Control-Request-Headers"); headerNames(asked) {
			h.Set("Access-Control-Allow-Headers", asked)
		}
		h.Set("Access-Control-Max-Age", corsAge)
	}
	w.status = nethttp.StatusNoContent
	w.End()
	return false
}

// headerNames reports whether s is a list of header names, of a length that
// browsers send.
func headerNames(s string) bool {
	return s != "" && len(s) <= 1024 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_, ") == ""
}
