package paths

import (
	"fmt"
	"strings"
)

// Map finds an R by path: exact wins over parameters, in the order of Add, and these
// over the longest prefix.
type Map[R any] struct {
	exact    map[string]R
	patterns []entry[R] // with parameters
	prefixes []entry[R] // longest first
}

type entry[R any] struct {
	Pattern
	r R
}

// Add makes r what p's paths belong to. A pattern stands in a map once.
func (m *Map[R]) Add(p Pattern, r R) error {
	if m.has(p.text) {
		return fmt.Errorf("%s stands twice", p.text)
	}
	for i := range m.patterns {
		if m.patterns[i].equal(&p) {
			return fmt.Errorf("%s has no path left: %s takes the same", p.text, m.patterns[i].text)
		}
	}
	switch p.kind {
	case prefix:
		i := 0
		for i < len(m.prefixes) && len(m.prefixes[i].text) > len(p.text) {
			i++
		}
		m.prefixes = append(m.prefixes[:i], append([]entry[R]{{p, r}}, m.prefixes[i:]...)...)
	case parameters:
		m.patterns = append(m.patterns, entry[R]{p, r})
	default:
		if m.exact == nil {
			m.exact = map[string]R{}
		}
		m.exact[p.text] = r
	}
	return nil
}

func (m *Map[R]) has(text string) bool {
	for _, list := range [][]entry[R]{m.patterns, m.prefixes} {
		for i := range list {
			if list[i].text == text {
				return true
			}
		}
	}
	_, ok := m.exact[text]
	return ok
}

// Find returns what path belongs to, the zero R when nothing matches.
func (m *Map[R]) Find(path string) (r R) {
	if r, ok := m.exact[path]; ok {
		return r
	}
	for i := range m.patterns {
		if p := &m.patterns[i]; p.match(path) {
			return p.r
		}
	}
	for i := range m.prefixes {
		if p := &m.prefixes[i]; strings.HasPrefix(path, p.text[:len(p.text)-1]) {
			return p.r
		}
	}
	return r
}

// Each calls visit for all, the exact ones first, in no order.
func (m *Map[R]) Each(visit func(R)) {
	for _, r := range m.exact {
		visit(r)
	}
	for _, list := range [][]entry[R]{m.patterns, m.prefixes} {
		for i := range list {
			visit(list[i].r)
		}
	}
}
