package mercure

import (
	"encoding/json"
	"errors"
	"fmt"
)

// DetailType is the type of the authorization details that a hub reads.
const DetailType = "https://mercure.rocks/authorization-detail"

// Detail is an authorization detail of a token: what may be done with which
// topics.
type Detail struct {
	Publish, Subscribe bool
	Topics             []Matcher
	Payload            json.RawMessage // a JSON object, or nil
}

// Grants is what a token grants.
type Grants []Detail

// MayPublish reports whether an update of these topics may be published: each of
// them has to be granted.
func (g Grants) MayPublish(topics []Topic) bool {
	for i := range topics {
		if !g.grant(&topics[i], func(d *Detail) bool { return d.Publish }) {
			return false
		}
	}
	return len(topics) > 0
}

// MayRead reports whether a private update of these topics may be read: one of
// them has to be granted.
func (g Grants) MayRead(topics []Topic) bool {
	for i := range topics {
		if g.grant(&topics[i], func(d *Detail) bool { return d.Subscribe }) {
			return true
		}
	}
	return false
}

func (g Grants) grant(t *Topic, action func(*Detail) bool) bool {
	for i := range g {
		if action(&g[i]) && anyMatches(g[i].Topics, t) {
			return true
		}
	}
	return false
}

// Payload returns what the token attaches to a subscription, nil for nothing.
func (g Grants) Payload(h *Hub, m *Matcher) json.RawMessage {
	t := h.Topic(m.Match)
	for i := range g {
		d := &g[i]
		if !d.Subscribe {
			continue
		}
		for j := range d.Topics {
			if own := &d.Topics[j]; own.Type == m.Type && own.Match == m.Match || own.Matches(&t) {
				return d.Payload
			}
		}
	}
	return nil
}

// ParseGrants reads authorization_details, the value of that claim; nil grants
// nothing. What is of another type is left out; of what is of Mercure's, one fault
// refuses all.
func (h *Hub) ParseGrants(claim json.RawMessage) (Grants, error) {
	if claim == nil {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(claim, &list); err != nil || list == nil {
		return nil, errors.New("authorization_details is no list")
	}
	var g Grants
	var cost budget
	for _, raw := range list {
		d, ours, err := h.detail(raw, &cost)
		if err != nil {
			return nil, fmt.Errorf("authorization_details: %w", err)
		}
		if !ours {
			continue
		}
		if len(g) == MaxDetails {
			return nil, fmt.Errorf("authorization_details: more than %d", MaxDetails)
		}
		g = append(g, d)
	}
	return g, nil
}

// detail reads one authorization detail. Names count as they are written.
func (h *Hub) detail(raw json.RawMessage, cost *budget) (d Detail, ours bool, err error) {
	var o map[string]json.RawMessage
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return d, false, errors.New("one is no object")
	}
	var kind string
	if json.Unmarshal(o["type"], &kind) != nil || kind != DetailType {
		return d, false, nil
	}
	var actions []string
	if json.Unmarshal(o["actions"], &actions) != nil || len(actions) == 0 || hasNull(o["actions"]) {
		return d, true, errors.New("actions is no list of texts")
	}
	for _, action := range actions {
		d.Publish = d.Publish || action == "publish"
		d.Subscribe = d.Subscribe || action == "subscribe"
	}
	var topics []json.RawMessage
	if json.Unmarshal(o["topics"], &topics) != nil || len(topics) == 0 || len(topics) > MaxMatchers {
		return d, true, fmt.Errorf("topics is no list of 1 to %d", MaxMatchers)
	}
	for _, raw := range topics {
		m, err := h.topicMatcher(raw)
		if err == nil {
			err = cost.take(&m)
		}
		if err != nil {
			return d, true, fmt.Errorf("a topic %w", err)
		}
		d.Topics = append(d.Topics, m)
	}
	d.Payload, err = payload(o["payload"])
	return d, true, err
}

// hasNull reports whether a list of texts has a null, which Go reads as "".
func hasNull(list json.RawMessage) bool {
	var texts []*string
	_ = json.Unmarshal(list, &texts)
	for _, s := range texts {
		if s == nil {
			return true
		}
	}
	return false
}

func (h *Hub) topicMatcher(raw json.RawMessage) (m Matcher, err error) {
	var o map[string]json.RawMessage
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return m, errors.New("is no object")
	}
	kind, match := Exact, (*string)(nil)
	if raw, ok := o["match_type"]; ok {
		var given *string
		if json.Unmarshal(raw, &given) != nil || given == nil || *given == "" {
			return m, errType
		}
		kind = *given
	}
	if json.Unmarshal(o["match"], &match) != nil || match == nil {
		return m, errors.New("has no match")
	}
	if kind == Template { // which a token of 1.0 knows nothing of
		return m, errType
	}
	return h.Matcher(kind, *match)
}

func payload(raw json.RawMessage) (json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	if len(raw) > MaxPayload || raw[0] != '{' {
		return nil, fmt.Errorf("payload is no object of at most %d bytes", MaxPayload)
	}
	return raw, nil
}

// ParseLegacy reads the claim mercure of revisions before 1.0: lists of URI
// templates, in "publish" and "subscribe", and a payload.
func (h *Hub) ParseLegacy(claim json.RawMessage) (Grants, error) {
	if claim == nil {
		return nil, nil
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(claim, &o) != nil || o == nil {
		return nil, errors.New("claim mercure is no object")
	}
	var g Grants
	var cost budget
	for _, action := range []string{"publish", "subscribe"} {
		list, err := h.legacy(o[action], &cost)
		if err != nil {
			return nil, fmt.Errorf("claim mercure: %s: %w", action, err)
		}
		if len(list) > 0 {
			g = append(g, Detail{Publish: action == "publish", Subscribe: action == "subscribe", Topics: list})
		}
	}
	p := o["payload"]
	if string(p) == "null" {
		p = nil
	}
	if len(p) > MaxPayload {
		return nil, fmt.Errorf("claim mercure: payload is over %d bytes", MaxPayload)
	}
	for i := range g {
		if g[i].Subscribe {
			g[i].Payload = p
		}
	}
	return g, nil
}

func (h *Hub) legacy(raw json.RawMessage, cost *budget) (list []Matcher, err error) {
	if raw == nil {
		return nil, nil
	}
	var texts []string
	if json.Unmarshal(raw, &texts) != nil || len(texts) > MaxMatchers {
		return nil, fmt.Errorf("no list of at most %d texts", MaxMatchers)
	}
	for _, s := range texts {
		m, err := h.Matcher(Template, s)
		if err == nil {
			err = cost.take(&m)
		}
		if err != nil {
			return nil, fmt.Errorf("one %w", err)
		}
		list = append(list, m)
	}
	return list, nil
}
