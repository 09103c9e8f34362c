package mercure

import (
	"errors"
	"fmt"
	"strings"
)

// The types of matchers. Template is that of revisions before 1.0.
const (
	Exact      = "exact"
	URLPattern = "urlpattern"
	Template   = "template"
)

// Wildcard is the matcher that selects every topic, whatever its type.
const Wildcard = "*"

// Hub is what matching depends on: the hub's own URL. It belongs to one goroutine.
type Hub struct {
	// Compat accepts what revisions before 1.0 had: topic= with URI templates,
	// the claim mercure, tokens without typ, aud, iss and exp.
	Compat bool
	base   address
	// patterns are those that were made last: one takes some 15 KB, and the members
	// of a room come with the same.
	patterns map[string]*pattern
}

const maxPatterns = 512

// pattern returns a URL pattern, made anew if it is not one of the last.
func (h *Hub) pattern(match string) (*pattern, error) {
	if p := h.patterns[match]; p != nil {
		return p, nil
	}
	p, err := parsePattern(match, &h.base)
	if err != nil {
		return nil, err
	}
	if h.patterns == nil || len(h.patterns) == maxPatterns {
		h.patterns = map[string]*pattern{}
	}
	h.patterns[strings.Clone(match)] = p
	return p, nil
}

// NewHub returns a hub by its URL, which begins with http:// or https://.
func NewHub(url string, compat bool) (*Hub, error) {
	base, err := resolve(url, &address{opaque: true})
	if err != nil || base.scheme != "http" && base.scheme != "https" || base.query != "" || base.hash != "" {
		return nil, fmt.Errorf("%q is no URL of a hub, such as https://example.com/.well-known/mercure", url)
	}
	return &Hub{Compat: compat, base: base}, nil
}

// Path returns the path of the hub's URL.
func (h *Hub) Path() string { return h.base.path }

// Topic is a topic as matchers look at it.
type Topic struct {
	Name    string
	address address
	url     bool // the name can be read as a URL reference
}

// Topic prepares a topic for many matchers.
func (h *Hub) Topic(name string) Topic {
	a, err := resolve(name, &h.base)
	return Topic{Name: name, address: a, url: err == nil}
}

// Topics prepares several.
func (h *Hub) Topics(names []string) []Topic {
	list := make([]Topic, len(names))
	for i, name := range names {
		list[i] = h.Topic(name)
	}
	return list
}

// Reserved reports whether a topic is in the namespace of the hub's own resources.
func (h *Hub) Reserved(t *Topic) bool {
	if !t.url {
		return false
	}
	path := withoutDots(decode(t.address.path, unreserved))
	own := withoutDots(decode(h.base.path, unreserved))
	return path == own || strings.HasPrefix(path, strings.TrimSuffix(own, "/")+"/")
}

// Matcher selects topics.
type Matcher struct {
	Type     string // Exact, URLPattern or Template
	Match    string // as it was written
	pattern  *pattern
	template component
	cost     int
}

var errType = errors.New("is no type of matcher here")

// Matcher makes a matcher; kind "" is Exact.
func (h *Hub) Matcher(kind, match string) (m Matcher, err error) {
	m = Matcher{Type: kind, Match: match}
	if kind == "" {
		m.Type = Exact
	}
	if err := CheckTopic(match); err != nil {
		return m, err
	}
	switch {
	case m.Type != Exact && m.Type != URLPattern && (m.Type != Template || !h.Compat):
		return m, errType
	case match == Wildcard || m.Type == Exact:
	case m.Type == URLPattern:
		if m.pattern, err = h.pattern(match); err == nil {
			m.cost = m.pattern.program
		}
	case strings.ContainsAny(match, "{}"):
		m.template, m.cost, err = parseTemplate(match)
	}
	return m, err
}

// Matches reports whether the matcher selects the topic.
func (m *Matcher) Matches(t *Topic) bool {
	switch {
	case m.Match == Wildcard:
		return true
	case m.pattern != nil:
		return t.url && m.pattern.match(&t.address)
	case m.template.exp != nil && m.template.exp.MatchString(t.Name):
		return true
	}
	return m.Type != URLPattern && m.Match == t.Name
}

// IsExact returns the one topic that the matcher selects, if it is but one.
func (m *Matcher) IsExact() bool {
	return m.Match != Wildcard && m.pattern == nil && m.template.exp == nil
}

// any reports whether one of the matchers selects the topic.
func anyMatches(list []Matcher, t *Topic) bool {
	for i := range list {
		if list[i].Matches(t) {
			return true
		}
	}
	return false
}

// budget bounds what the patterns of one client cost together.
type budget int

func (b *budget) take(m *Matcher) error {
	if *b += budget(m.cost); *b > MaxPatterns {
		return errors.New("are too complex patterns together")
	}
	return nil
}
