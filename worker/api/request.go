package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pushd/pushd/worker"
)

const (
	maxName    = 200      // bytes of a channel, uid or connection id
	maxTargets = 1000     // of one request, all items of a batch together
	maxFanout  = 16 << 20 // bytes of data times targets: what a request may put on the bus
	maxReason  = 123      // bytes of a close reason: what a close frame holds
	maxItems   = 100      // of a batch
)

// problem is a request that is refused: the body of the error answer.
type problem struct {
	Status  int    `json:"-"`
	Message string `json:"error"`
	Field   string `json:"field,omitempty"`
}

func (p *problem) Error() string { return p.Message }

// invalid refuses a request because of one of its fields.
func invalid(field, format string, a ...any) *problem {
	return &problem{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, a...), Field: field}
}

// request holds the fields of all operations; which of them an operation takes
// stands in operations.
type request struct {
	channels    []string
	uids        []string
	connections []string
	except      []string
	worker      string
	data        []byte
	binary      bool
	hasData     bool
	code        uint16
	reason      string
	broadcast   bool
	key         string
	app         string // of the Pusher protocol
	event       string // its name; with app
}

// setters decode the fields. Their errors are *problem without Field.
var setters = map[string]func(*request, json.RawMessage) error{
	"channel":     func(r *request, v json.RawMessage) error { return one(&r.channels, v) },
	"channels":    func(r *request, v json.RawMessage) error { return many(&r.channels, v) },
	"uid":         func(r *request, v json.RawMessage) error { return one(&r.uids, v) },
	"uids":        func(r *request, v json.RawMessage) error { return many(&r.uids, v) },
	"connection":  func(r *request, v json.RawMessage) error { return one(&r.connections, v) },
	"connections": func(r *request, v json.RawMessage) error { return many(&r.connections, v) },
	"except": func(r *request, v json.RawMessage) error {
		if len(v) > 0 && v[0] == '"' {
			return one(&r.except, v)
		}
		return many(&r.except, v)
	},
	"app": func(r *request, v json.RawMessage) error {
		if err := text(&r.app, v); err != nil {
			return err
		}
		return checkApp(r.app)
	},
	"event":       func(r *request, v json.RawMessage) error { return text(&r.event, v) },
	"worker":      func(r *request, v json.RawMessage) error { return text(&r.worker, v) },
	"data":        setData,
	"data_base64": setBase64,
	"code":        setCode,
	"reason": func(r *request, v json.RawMessage) error {
		if err := text(&r.reason, v); err != nil {
			return err
		}
		if len(r.reason) > maxReason {
			return invalid("", "at most %d bytes", maxReason)
		}
		return nil
	},
	"broadcast": func(r *request, v json.RawMessage) error {
		if json.Unmarshal(v, &r.broadcast) != nil || !r.broadcast {
			return invalid("", "must be true")
		}
		return nil
	},
	"key": func(r *request, v json.RawMessage) error { return text(&r.key, v) },
}

// parseObject splits a JSON object into its fields.
func parseObject(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, invalid("", "body is not UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, invalid("", "body is not JSON: %v at byte %d", err, syntax.Offset)
		}
		return nil, invalid("", "body must be a JSON object")
	}
	if fields == nil {
		return nil, invalid("", "body must be a JSON object")
	}
	return fields, nil
}

// parseRequest takes the fields that an operation knows; any other is refused.
func parseRequest(fields map[string]json.RawMessage, known []string) (*request, error) {
	var unknown []string
	for name := range fields {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, invalid(unknown[0], "unknown field %q; known are %s", unknown[0], strings.Join(known, ", "))
	}
	r := new(request)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := setters[name](r, fields[name]); err != nil {
			var p *problem
			errors.As(err, &p)
			return nil, invalid(name, "%s: %s", name, p.Message)
		}
	}
	return r, nil
}

func text(into *string, v json.RawMessage) error {
	if len(v) == 0 || v[0] != '"' || json.Unmarshal(v, into) != nil {
		return invalid("", "must be a string")
	}
	return nil
}

func one(into *[]string, v json.RawMessage) error {
	var s string
	if err := text(&s, v); err != nil {
		return err
	}
	if err := checkName(s); err != nil {
		return err
	}
	*into = append(*into, s)
	return nil
}

func many(into *[]string, v json.RawMessage) error {
	var raw []json.RawMessage
	if len(v) == 0 || v[0] != '[' || json.Unmarshal(v, &raw) != nil {
		return invalid("", "must be a list of strings")
	}
	if len(raw) == 0 || len(raw) > maxTargets {
		return invalid("", "must have 1 to %d entries", maxTargets)
	}
	for _, v := range raw {
		if err := one(into, v); err != nil {
			return err
		}
	}
	return nil
}

// checkName allows any text that can be shown in one line.
func checkName(s string) error {
	switch {
	case s == "":
		return invalid("", "must not be empty")
	case len(s) > maxName:
		return invalid("", "at most %d bytes", maxName)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return invalid("", "must be UTF-8 without control characters")
	}
	return nil
}

// setData takes a string as its characters, anything else as its JSON.
func setData(r *request, v json.RawMessage) error {
	r.data = v
	if v[0] == '"' {
		var s string
		if err := text(&s, v); err != nil {
			return err
		}
		r.data = []byte(s)
	}
	return setOnce(r)
}

func setBase64(r *request, v json.RawMessage) error {
	var s string
	if err := text(&s, v); err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return invalid("", "must be standard base64")
	}
	r.data, r.binary = b, true
	return setOnce(r)
}

func setOnce(r *request) error {
	if r.hasData {
		return invalid("", "either data or data_base64")
	}
	r.hasData = true
	return nil
}

func setCode(r *request, v json.RawMessage) error {
	var n int
	if json.Unmarshal(v, &n) != nil || n != 1000 && (n < 3000 || n > 4999) {
		return invalid("", "must be 1000 or 3000 to 4999")
	}
	r.code = uint16(n)
	return nil
}

// to makes a publication for each target.
func (r *request) to(kind worker.Kind, scope worker.Scope, targets []string) []worker.Publication {
	ps := make([]worker.Publication, len(targets))
	for i, target := range targets {
		ps[i] = worker.Publication{
			Kind: kind, Scope: scope, Target: target,
			Data: r.data, Binary: r.binary, Code: r.code, Except: r.except,
		}
	}
	return ps
}
