package cmd

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/pushd/pushd/master"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// secretWords make a key of a spec secret, in whatever handler's options.
var secretWords = []string{"key", "secret", "token", "passw", "credential", "auth"}

// redactPlan returns the plan as people may see it.
func redactPlan(p master.Plan) (master.Plan, error) {
	p.Fixed = nil // digests of secrets
	groups := make([]master.Group, len(p.Workers))
	for i, g := range p.Workers {
		spec, err := redactJSON(g.Spec)
		if err != nil {
			return p, err
		}
		g.Spec = spec
		groups[i] = g
	}
	p.Workers = groups
	if p.Broker != nil {
		spec, err := redactJSON(p.Broker.Spec)
		if err != nil {
			return p, err
		}
		p.Broker = &master.BrokerPlan{Listen: p.Broker.Listen, Spec: spec}
	}
	return p, nil
}

func redactJSON(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return raw, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(redact(v))
}

func redact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if isSecret(key) && !isEmpty(e) {
				v[key] = redacted
			} else {
				v[key] = redact(e)
			}
		}
	case []any:
		for i, e := range v {
			v[i] = redact(e)
		}
	case string:
		return redactURL(v)
	}
	return v
}

func isSecret(key string) bool {
	key = strings.ToLower(key)
	for _, w := range secretWords {
		if strings.Contains(key, w) {
			return true
		}
	}
	return false
}

// isEmpty: that a secret is not set is no secret.
func isEmpty(v any) bool { return v == nil || v == "" || v == false }

// redactURL hides what stands before the "@" of addresses.
func redactURL(s string) string {
	if !strings.Contains(s, "://") || !strings.Contains(s, "@") {
		return s
	}
	parts := strings.Split(s, ",")
	for i, p := range parts {
		u, err := url.Parse(strings.TrimSpace(p))
		if err != nil {
			parts[i] = redacted
		} else if u.User != nil {
			u.User = url.User("redacted")
			parts[i] = u.String()
		}
	}
	return strings.Join(parts, ",")
}
