package worker

import (
	"errors"
	"fmt"
	"strings"
)

// route is a Route made ready: its callbacks and its origin rule.
type route struct {
	callbacks
	pattern string
	exact   string // the path, when the pattern is one
	bare    bool   // takes WebSockets even without a callback for them
	origins origins
}

// pathMap finds the route of a path: exact, then patterns with parameters, then
// the longest prefix.
type pathMap struct {
	exact    map[string]*route
	patterns []pattern
	prefixes []*route // longest first
}

// pattern is a path with parameters, split at the slashes.
type pattern struct {
	parts []string
	route *route
}

// newRoute checks and prepares r.
func newRoute(r Route) (*route, error) {
	if r.Handler == nil {
		return nil, fmt.Errorf("route %s has no handler", r.Pattern)
	}
	o, err := parseOrigins(r.Origins)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Pattern, err)
	}
	return &route{callbacks: ofHandler(r.Handler), pattern: r.Pattern, origins: o}, nil
}

// CheckRoutes finds what is wrong with a group's routes.
func CheckRoutes(routes []Route) error {
	_, err := newPathMap(routes)
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
		m.patterns = append(m.patterns, pattern{parts, rt})
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

// find returns the route of path, and the parameters if its pattern has any;
// nil when nothing matches.
func (m *pathMap) find(path string) (*route, map[string]string) {
	if r := m.exact[path]; r != nil {
		return r, nil
	}
	for i := range m.patterns {
		if params, ok := m.patterns[i].match(path); ok {
			return m.patterns[i].route, params
		}
	}
	for _, r := range m.prefixes {
		if strings.HasPrefix(path, r.pattern[:len(r.pattern)-1]) {
			return r, nil
		}
	}
	return nil, nil
}

func (p *pattern) match(path string) (map[string]string, bool) {
	params := map[string]string{}
	for i, part := range p.parts {
		var have string
		have, rest, more := strings.Cut(path, "/")
		if more == (i == len(p.parts)-1) {
			return nil, false
		}
		path = rest
		if name, ok := parameter(part); ok {
			if have == "" {
				return nil, false
			}
			params[name] = have
		} else if have != part {
			return nil, false
		}
	}
	return params, true
}

// routes prepares what w serves: its routes, and the callbacks for the rest.
func (l *loop) routes(w *Worker) error {
	o, err := parseOrigins(w.Origins)
	if err != nil {
		return err
	}
	l.plain = &route{callbacks: ofWorker(w), origins: o}
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
		for _, p := range l.paths.patterns {
			all = append(all, p.route)
		}
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
func (l *loop) match(path string) (*route, map[string]string) {
	if l.paths != nil {
		if r, params := l.paths.find(path); r != nil {
			return r, params
		}
	}
	if l.plain.bare || l.plain.talks() || l.plain.onRequest != nil {
		return l.plain, nil
	}
	return nil, nil
}
