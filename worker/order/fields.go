package order

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// request holds the fields of all verbs; which of them a verb takes stands in
// verbs.
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
	app         string // of the Pusher protocol
	event       string // its name; with app
	order       *worker.Order
}

// setters decode the fields. Their errors are *Error without Field.
var setters = map[string]func(*request, json.RawMessage) error{
	"channel":     func(r *request, v json.RawMessage) error { return one(&r.channels, v, Text) },
	"channels":    func(r *request, v json.RawMessage) error { return many(&r.channels, v, Text) },
	"uid":         func(r *request, v json.RawMessage) error { return one(&r.uids, v, id) },
	"uids":        func(r *request, v json.RawMessage) error { return many(&r.uids, v, id) },
	"connection":  func(r *request, v json.RawMessage) error { return one(&r.connections, v, Text) },
	"connections": func(r *request, v json.RawMessage) error { return many(&r.connections, v, Text) },
	"except": func(r *request, v json.RawMessage) error {
		if len(v) > 0 && v[0] == '"' {
			return one(&r.except, v, Text)
		}
		return many(&r.except, v, Text)
	},
	"app": func(r *request, v json.RawMessage) (err error) {
		if r.app, err = Text(v); err == nil && !validApp(r.app) {
			err = invalid("", "is no app id")
		}
		return err
	},
	"event": func(r *request, v json.RawMessage) (err error) { r.event, err = Text(v); return err },
	"worker": func(r *request, v json.RawMessage) (err error) {
		if r.worker, err = Text(v); err == nil {
			err = CheckName(r.worker)
		}
		return err
	},
	"data":        setData,
	"data_base64": setBase64,
	"code":        setCode,
	"idempotency_key": func(r *request, v json.RawMessage) (err error) {
		o := r.ordered()
		if o.Key, err = Text(v); err == nil && (o.Key == "" || len(o.Key) > history.MaxKey) {
			err = invalid("", "1 to %d bytes", history.MaxKey)
		}
		return err
	},
	"version": func(r *request, v json.RawMessage) error {
		if json.Unmarshal(v, &r.ordered().Version) != nil || r.order.Version == 0 {
			return invalid("", "must be a whole number from 1 to 2^64-1")
		}
		return nil
	},
	"reason": func(r *request, v json.RawMessage) (err error) {
		if r.reason, err = Text(v); err == nil && len(r.reason) > maxReason {
			err = invalid("", "at most %d bytes", maxReason)
		}
		return err
	},
}

// ordered is what is asked of the history service.
func (r *request) ordered() *worker.Order {
	if r.order == nil {
		r.order = new(worker.Order)
	}
	return r.order
}

// Object splits a JSON object into its fields.
func Object(body []byte) (Fields, error) {
	malformed := func(format string, a ...any) error {
		err := invalid("", format, a...)
		err.Cause = Malformed
		return err
	}
	if !utf8.Valid(body) {
		return nil, malformed("body is not UTF-8")
	}
	var f Fields
	if err := json.Unmarshal(body, &f); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, malformed("body is not JSON: %v at byte %d", err, syntax.Offset)
		}
		return nil, malformed("body must be a JSON object")
	}
	if f == nil {
		return nil, malformed("body must be a JSON object")
	}
	return f, nil
}

// parseRequest takes the fields that a verb knows; any other is refused.
func parseRequest(f Fields, known []string) (*request, error) {
	unknown := ""
	for name := range f {
		if !slices.Contains(known, name) && (unknown == "" || name < unknown) {
			unknown = name
		}
	}
	if unknown != "" {
		return nil, invalid(unknown, "unknown field %q; known are %s", clip(unknown), strings.Join(known, ", "))
	}
	r := new(request)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if err := setters[name](r, f[name]); err != nil {
			return nil, invalid(name, "%s: %s", name, err)
		}
	}
	for _, names := range []*[]string{&r.channels, &r.uids, &r.connections, &r.except} {
		*names = Distinct(*names)
	}
	return r, nil
}

// Distinct drops the names that stood before, so that nobody gets twice what was
// ordered once; it may change the list.
func Distinct(names []string) []string {
	if len(names) < 2 {
		return names
	}
	out, seen := names[:0], make(map[string]bool, len(names))
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}

// Text reads a JSON string.
func Text(v json.RawMessage) (s string, err error) {
	if len(v) == 0 || v[0] != '"' || json.Unmarshal(v, &s) != nil {
		return "", invalid("", "must be a string")
	}
	return s, nil
}

// id is Text that takes a whole number as its digits, as tokens do: many back
// ends hold ids as integers.
func id(v json.RawMessage) (string, error) {
	if len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') && !bytes.ContainsAny(v, ".eE") {
		return string(v), nil
	}
	s, err := Text(v)
	if err != nil {
		err = invalid("", "must be a string or a whole number")
	}
	return s, err
}

func one(into *[]string, v json.RawMessage, read func(json.RawMessage) (string, error)) error {
	s, err := read(v)
	if err != nil {
		return err
	}
	if err := CheckName(s); err != nil {
		return err
	}
	*into = append(*into, s)
	return nil
}

func many(into *[]string, v json.RawMessage, read func(json.RawMessage) (string, error)) error {
	n, err := list(v, MaxTargets, func(v json.RawMessage) error { return one(into, v, read) })
	switch {
	case errors.Is(err, errNoList):
		return invalid("", "must be a list of strings")
	case err == nil && n == 0, errors.Is(err, errTooMany):
		return invalid("", "must have 1 to %d entries", MaxTargets)
	}
	return err
}

var (
	errNoList  = errors.New("no list")
	errTooMany = errors.New("too many entries")
)

// list hands the entries of a JSON list, at most limit, to each, whose error
// ends it. However long the list is, no more than that are made of it. v is
// valid JSON.
func list(v json.RawMessage, limit int, each func(json.RawMessage) error) (n int, err error) {
	if len(v) == 0 || v[0] != '[' {
		return 0, errNoList
	}
	d := json.NewDecoder(bytes.NewReader(v))
	if _, err := d.Token(); err != nil {
		return 0, errNoList
	}
	for ; d.More(); n++ {
		if n == limit {
			return n, errTooMany
		}
		var entry json.RawMessage
		if err := d.Decode(&entry); err != nil {
			return n, errNoList
		}
		if err := each(entry); err != nil {
			return n, err
		}
	}
	return n, nil
}

// CheckName allows any text that can be shown in one line. Its error is an *Error.
func CheckName(s string) error {
	switch {
	case s == "":
		return invalid("", "must not be empty")
	case len(s) > MaxName:
		return invalid("", "at most %d bytes", MaxName)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return invalid("", "must be UTF-8 without control characters")
	}
	return nil
}

// validApp judges the form of an app's id.
func validApp(id string) bool {
	return id != "" && len(id) <= MaxName && !strings.ContainsFunc(id, func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && c != '.' && c != '_' && c != '-'
	})
}

// setData takes a string as its characters, anything else as its JSON.
func setData(r *request, v json.RawMessage) error {
	r.data = v
	if v[0] == '"' {
		s, err := Text(v)
		if err != nil {
			return err
		}
		r.data = []byte(s)
	}
	return setOnce(r)
}

func setBase64(r *request, v json.RawMessage) error {
	s, err := Text(v)
	if err != nil {
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
