package worker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/protocol/origin"
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/paths"
)

// route is a Route made ready: its callbacks and its origin rule.
type route struct {
	callbacks
	pattern   string
	exact     string            // the path, when the pattern is one; of a copy, the path that it is for
	params    paths.Pattern     // pattern, read
	copies    map[string]*route // of it, by path
	seats     []*seat           // of its connections, one for each listener and transport of some
	bare      bool              // takes WebSockets even without a callback for them
	origins   origin.Rule
	protocols []string // subprotocols, best first
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

// CheckRoutes finds what is wrong with a group's routes: an error for each, nil for
// one that is sound.
func CheckRoutes(routes []Route) (errs []error) {
	m := &paths.Map[*route]{}
	for _, one := range routes {
		errs = append(errs, addRoute(m, one))
	}
	return errs
}

// CheckAccess finds entries of Origins and Protocols that a worker would refuse.
func CheckAccess(origins, protocols []string) error {
	_, err := origin.Parse(origins)
	return errors.Join(err, checkProtocols(protocols))
}

func newPathMap(routes []Route) (*paths.Map[*route], error) {
	m := &paths.Map[*route]{}
	for _, one := range routes {
		if err := addRoute(m, one); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func addRoute(m *paths.Map[*route], one Route) error {
	if !http.IsPath(one.Pattern) {
		return fmt.Errorf("route %q: no client can ask for such a path; other letters come as in /%%C3%%BC", one.Pattern)
	}
	pattern, err := paths.Parse(one.Pattern)
	if err != nil {
		return fmt.Errorf("route %s: %w", one.Pattern, err)
	}
	rt, err := newRoute(one)
	if err != nil {
		return err
	}
	rt.params, rt.exact = pattern, pattern.Exact()
	if err := m.Add(pattern, rt); err != nil {
		return fmt.Errorf("route %w", err)
	}
	return nil
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
	s := &seat{place: &place{p, r, t}}
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
		l.paths.Each(func(r *route) { all = append(all, r) })
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
		if r := l.paths.Find(path); r != nil {
			return r
		}
	}
	if l.plain.bare || l.plain.talks() || l.plain.onRequest != nil {
		return l.plain
	}
	return nil
}
