package cmd

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/pushd/pushd/master"
)

// redacted stands where a secret was.
const redacted = "[redacted]"

// secretWords make a key of a spec secret, in whatever handler's options.
var secretWords = []string{"key", "jwk", "secret", "token", "pass", "pwd", "credential", "auth", "dsn"}

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
		shown := *p.Broker
		shown.Spec = spec
		p.Broker = &shown
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
			switch values, isTable := e.(map[string]any); {
			case isTable && strings.EqualFold(key, "headers"):
				redactAll(values)
			case isSecret(key) && !isEmpty(e):
				v[key] = redacted
			default:
				v[key] = redact(e)
			}
		}
	case []any:
		for i, e := range v {
			v[i] = redact(e)
		}
	case string:
		return redactURLs(v)
	}
	return v
}

// redactAll leaves the names.
func redactAll(values map[string]any) {
	for name := range values {
		values[name] = redacted
	}
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

// redactURLs leaves scheme and host of the addresses in s: a name and password
// stand before the host, and a path or query can be as good as a password.
func redactURLs(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	parts := strings.Split(s, ",")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		scheme, rest, isURL := strings.Cut(p, "://")
		switch {
		case !isURL && strings.Contains(p, "@"):
			return redacted // the rest of a password that has a comma
		case isURL && !strings.HasPrefix(rest, "/"): // a path of this machine is none
			parts[i] = redactURL(scheme, rest)
		}
	}
	return strings.Join(parts, ",")
}

func redactURL(scheme, rest string) string {
	authority, more := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, more = rest[:end], rest[end:]
	}
	if strings.Contains(more, "@") {
		return redacted // perhaps a password that has a slash
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = "redacted" + authority[at:]
	}
	if more != "" && more != "/" {
		more = "/" + redacted
	}
	return scheme + "://" + authority + more
}
