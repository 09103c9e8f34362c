package mercure

import (
	"encoding/json"
	"strings"
)

// Document describes a subscription, in an event and in the API.
type Document struct {
	ID         string          `json:"id"` // of the document, and topic of the event
	Type       string          `json:"type"`
	MatchType  string          `json:"match_type"`
	Match      string          `json:"match"`
	Subscriber string          `json:"subscriber"`
	Active     bool            `json:"active"`
	Payload    json.RawMessage `json:"payload,omitempty"`
}

// Collection is a list of them.
type Collection struct {
	ID            string     `json:"id"`
	Type          string     `json:"type"`
	Subscriptions []Document `json:"subscriptions"`
}

// Document describes the subscription of a matcher.
func (h *Hub) Document(m *Matcher, subscriber string, active bool, payload json.RawMessage) Document {
	return Document{
		ID:   h.Path() + resources + "/" + segment(m.Type) + "/" + segment(m.Match) + "/" + segment(subscriber),
		Type: "subscription", MatchType: m.Type, Match: m.Match, Subscriber: subscriber, Active: active, Payload: payload,
	}
}

// Collection makes the document of a list; no subscriptions are an empty list.
func (h *Hub) Collection(path string, list []Document) Collection {
	if list == nil {
		list = []Document{}
	}
	return Collection{ID: path, Type: "subscriptions", Subscriptions: list}
}

const resources = "/subscriptions"

// Which is what a request to the API asks for; "" = all.
type Which struct{ MatchType, Match, Subscriber string }

// ParseResource reads the path of a request, as it was sent, to the API of
// subscriptions.
func (h *Hub) ParseResource(path string) (w Which, ok bool) {
	rest, ok := strings.CutPrefix(path, h.Path()+resources)
	if !ok || rest == "" {
		return w, ok
	}
	parts := strings.Split(rest, "/")
	if parts[0] != "" || len(parts) != 3 && len(parts) != 4 {
		return w, false
	}
	for _, p := range parts[1:] {
		if p == "" {
			return w, false
		}
	}
	w.MatchType, w.Match = unescape(parts[1]), unescape(parts[2])
	if len(parts) == 4 {
		w.Subscriber = unescape(parts[3])
	}
	return w, true
}

// Has reports whether it asks for this document.
func (w *Which) Has(d *Document) bool {
	return w.MatchType == "" || w.MatchType == d.MatchType && w.Match == d.Match && (w.Subscriber == "" || w.Subscriber == d.Subscriber)
}

// segment is the simple expansion of RFC 6570: all but unreserved characters are
// encoded, once.
func segment(s string) string {
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		if c := s[i]; unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}
