package worker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pushd/pushd/protocol/origin"
	"github.com/pushd/pushd/protocol/websocket"
)

// route is a Route made ready: its callbacks and its origin rule.
type route struct {
	callbacks
	pattern   string
	exact     string            // the path, when the pattern is one; of a copy, the path that it is for
	parts     []string          // of a pattern with parameters, split at the slashes
	copies    map[string]*route // of it, by path
	seats     []*seat           // of its connections, one for each listener and transport of some
	bare      bool              // takes WebSockets even without a callback for them
	origins   origin.Rule
	protocols []string // subprotocols, best first
}

// pathMap finds the route of a path: exact, then patterns with parameters, then
// the longest prefix.
type pathMap struct {
	exact    map[string]*route
	patterns []*route // with parameters
	prefixes []*route // longest first
}

// newRoute checks and prepares r.
func newRoute(r Route) (*route, error) {
	if r.Handler == nil {
		return nil, fmt.Errorf("route %s has no handler", r.Pattern)
	}
	o, err := origin.Parse(r.Origins)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Pattern, err)
	}
	if err := checkProtocols(r.Protocols); err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Pattern, err)
	}
	return &route{callbacks: ofHandler(r.Handler), pattern: r.Pattern, origins: o, protocols: r.Protocols}, nil
}

// checkProtocols refuses a subprotocol that no client can offer.
func checkProtocols(list []string) error {
	for _, p := range list {
		if !websocket.IsToken(p) {
			return fmt.Errorf("protocols: %q is no name of a subprotocol: letters, digits and !#$%%&'*+-.^_`|~", p)
		}
	}
	return nil
}

// CheckRoutes finds what is wrong with a group's routes.
func CheckRoutes(routes []Route) error {
	_, err := newPathMap(routes)
	return err
}

// CheckOrigins finds an entry of Origins that a worker would refuse.
func CheckOrigins(list []string) error {
	_, err := origin.Parse(list)
	return err
}

func newPathMap(routes []Route) (*pathMap, error) {
	m := &pathMap{exact: map[string]*route{}}
	seen := map[string]bool{}
	for _, r := range routes {
		if !strings.HasPrefix(r.Pattern, "/") {
			return nil, fmt.Errorf("route %q: a pattern begins with /", r.Pattern)
		}
		if seen[r.Pattern] {
			return nil, fmt.Errorf("route %s stands twice", r.Pattern)
		}
		seen[r.Pattern] = true
		rt, err := newRoute(r)
		if err != nil {
			return nil, err
		}
		if err := m.add(rt); err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Pattern, err)
		}
	}
	return m, nil
}

func (m *pathMap) add(rt *route) error {
	p := rt.pattern
	switch star, brace := strings.Index(p, "*"), strings.ContainsAny(p, "{}"); {
	case star >= 0 && (brace || star != len(p)-1 || !strings.HasSuffix(p, "/*")):
		return errors.New("* stands only at the end, after a /, and not beside parameters")
	case star >= 0:
		i := 0
		for i < len(m.prefixes) && len(m.prefixes[i].pattern) > len(p) {
			i++
		}
		m.prefixes = append(m.prefixes[:i], append([]*route{rt}, m.prefixes[i:]...)...)
	case brace:
		parts := strings.Split(p, "/")
		for _, part := range parts {
			if inner, ok := parameter(part); strings.ContainsAny(part, "{}") && (!ok || inner == "" || strings.ContainsAny(inner, "{}")) {
				return fmt.Errorf("%q is no parameter: write {name} as a whole part of the path", part)
			}
		}
		rt.parts = parts
		m.patterns = append(m.patterns, rt)
	default:
		rt.exact = p
		m.exact[p] = rt
	}
	return nil
}

// parameter returns the name in "{name}".
func parameter(part string) (string, bool) {
	if strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}") {
		return part[1 : len(part)-1], true
	}
	return "", false
}

// find returns the route of path, nil when nothing matches.
func (m *pathMap) find(path string) *route {
	if r := m.exact[path]; r != nil {
		return r
	}
	for _, r := range m.patterns {
		if r.match(path) {
			return r
		}
	}
	for _, r := range m.prefixes {
		if strings.HasPrefix(path, r.pattern[:len(r.pattern)-1]) {
			return r
		}
	}
	return nil
}

// match reports whether path is one of the pattern's.
func (r *route) match(path string) bool {
	for i, part := range r.parts {
		have, rest, more := strings.Cut(path, "/")
		if more == (i == len(r.parts)-1) {
			return false
		}
		path = rest
		if _, ok := parameter(part); ok && have == "" || !ok && have != part {
			return false
		}
	}
	return true
}

// param returns a parameter of a path that matches, "" if there is none of that
// name.
func (r *route) param(path, name string) string {
	for _, part := range r.parts {
		have, rest, _ := strings.Cut(path, "/")
		if p, ok := parameter(part); ok && p == name {
			return have
		}
		path = rest
	}
	return ""
}

// maxCopies bounds the copies of a route; when there are more, those that are
// in use stay with their connections and the others are made again.
const (
	maxCopies = 1024
	maxCopied = 128 // bytes of a path
)

// of returns the route for the connections of a path: where that is not the
// pattern itself, a copy that knows the path, so that not every connection has
// to. nil when the path is too long for that.
func (r *route) of(path string) *route {
	if r.exact == path {
		return r
	}
	if len(path) > maxCopied {
		return nil
	}
	if c := r.copies[path]; c != nil {
		return c
	}
	if r.copies == nil || len(r.copies) == maxCopies {
		r.copies = map[string]*route{}
	}
	c := *r
	c.exact, c.copies, c.seats = strings.Clone(path), nil, nil
	r.copies[c.exact] = &c
	return &c
}

// at returns what the connections of the route have in common that came by p and
// speak t.
func (r *route) at(p *port, t *transport) *seat {
	for _, s := range r.seats {
		if s.port == p && s.transport == t {
			return s
		}
	}
	s := &seat{port: p, route: r, transport: t}
	r.seats = append(r.seats, s)
	return s
}

// routes prepares what w serves: its routes, and the callbacks for the rest.
func (l *loop) routes(w *Worker) error {
	o, err := origin.Parse(w.Origins)
	if err != nil {
		return err
	}
	if err := checkProtocols(w.Protocols); err != nil {
		return err
	}
	l.plain = &route{callbacks: ofWorker(w), origins: o, protocols: w.Protocols}
	if w.Handler != nil {
		l.plain.callbacks = ofHandler(w.Handler)
	}
	if len(w.Routes) == 0 {
		l.plain.bare = w.Handler == nil
		return nil
	}
	l.paths, err = newPathMap(w.Routes)
	return err
}

// each calls visit for every distinct set of callbacks.
func (l *loop) each(visit func(*route) error) error {
	all := []*route{l.plain}
	if l.paths != nil {
		for _, r := range l.paths.exact {
			all = append(all, r)
		}
		all = append(all, l.paths.patterns...)
		all = append(all, l.paths.prefixes...)
	}
	for _, r := range all {
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}

// match returns the route of a path, nil for 404.
func (l *loop) match(path string) *route {
	if l.paths != nil {
		if r := l.paths.find(path); r != nil {
			return r
		}
	}
	if l.plain.bare || l.plain.talks() || l.plain.onRequest != nil {
		return l.plain
	}
	return nil
}
