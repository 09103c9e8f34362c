package mercure

import (
	"errors"
	"fmt"
	"strings"
)

// Subscription is what a subscriber asks for.
type Subscription struct {
	Matchers []Matcher
	// LastEventID is the position in the query, if Asked; the header
	// Last-Event-ID goes before it.
	LastEventID string
	Asked       bool
}

// ParseQuery reads the query of a subscription.
func (h *Hub) ParseQuery(query string) (s Subscription, err error) {
	var cost budget
	err = pairs(query, func(name, value string) error {
		kind, ok, err := h.parameter(name)
		switch {
		case err != nil:
			return err
		case !ok:
			return s.other(h, name, value)
		}
		return s.add(h, kind, value, &cost)
	})
	if err == nil && len(s.Matchers) == 0 {
		err = errors.New("parameter match is missing")
	}
	return s, err
}

// parameter returns the type of matcher that a parameter has.
func (h *Hub) parameter(name string) (kind string, ok bool, err error) {
	switch name {
	case "match", "match_exact":
		return Exact, true, nil
	case "match_urlpattern":
		return URLPattern, true, nil
	case "topic":
		return Template, h.Compat, nil
	}
	if len(name) >= len("match") && strings.EqualFold(name[:len("match")], "match") {
		return "", false, fmt.Errorf("parameter %.40q is no type of matcher", name)
	}
	return "", false, nil
}

func (s *Subscription) add(h *Hub, kind, match string, cost *budget) error {
	m, err := h.Matcher(kind, match)
	if err == nil {
		err = cost.take(&m)
	}
	if err != nil {
		return fmt.Errorf("a matcher %w", err)
	}
	for i := range s.Matchers {
		if s.Matchers[i].Type == m.Type && s.Matchers[i].Match == m.Match {
			return nil
		}
	}
	if len(s.Matchers) == MaxMatchers {
		return fmt.Errorf("there are more than %d matchers", MaxMatchers)
	}
	s.Matchers = append(s.Matchers, m)
	return nil
}

func (s *Subscription) other(h *Hub, name, value string) error {
	if name == "last_event_id" || h.Compat && (name == "lastEventID" || name == "Last-Event-ID") {
		if !s.Asked {
			s.LastEventID, s.Asked = value, true
		}
	}
	return nil
}

// Selects reports whether one of the matchers selects one of the topics.
func (s *Subscription) Selects(topics []Topic) bool {
	for i := range topics {
		if anyMatches(s.Matchers, &topics[i]) {
			return true
		}
	}
	return false
}

// Query returns a query that asks for the same matchers, and nothing else.
func (s *Subscription) Query() string {
	var b strings.Builder
	for i := range s.Matchers {
		name := "match"
		switch s.Matchers[i].Type {
		case URLPattern:
			name = "match_urlpattern"
		case Template:
			name = "topic"
		}
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name + "=" + segment(s.Matchers[i].Match))
	}
	return b.String()
}
