// Package order is what a back end may order of pushd: publish, send,
// broadcast, kick, bind, unbind, join, leave. It turns the fields of a JSON
// object into publications, whatever way the object came in and whatever the
// answer looks like, and bounds what one request may put on the bus before it
// makes any of it.
package order

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pushd/pushd/worker"
)

// Bounds of what is ordered.
const (
	MaxName    = 200      // bytes of a channel, uid or connection id
	MaxTargets = 1000     // of one request, all its orders together
	MaxBytes   = 16 << 20 // of data, names and exceptions times targets, all orders of a request together
	maxReason  = 123      // bytes of a close reason: what a close frame holds
)

// Cause says what kind of refusal an Error is.
type Cause uint8

const (
	Malformed    Cause = iota // no JSON object
	Invalid                   // a field is wrong, missing or not known
	UnknownApp                // there is no app of that id
	UnknownGroup              // there is no worker group of that name
	TooMany                   // over MaxTargets
	TooLarge                  // over MaxBytes
	TooLong                   // an event's data is over what its app allows
)

// Error is an order that is refused: nothing of it is published.
type Error struct {
	Cause   Cause
	Field   string // "" = none in particular
	Message string
}

func (e *Error) Error() string { return e.Message }

func invalid(field, format string, a ...any) *Error {
	return &Error{Cause: Invalid, Field: clip(field), Message: fmt.Sprintf(format, a...)}
}

// clip shortens a name that somebody else has chosen to what an answer can bear.
func clip(name string) string {
	if len(name) > maxShown {
		return strings.ToValidUTF8(name[:maxShown], "") + "…"
	}
	return name
}

const maxShown = 100 // bytes

// Fields are those of an order's object, not looked at yet.
type Fields map[string]json.RawMessage

// Names are those that an order may use.
type Names struct {
	Apps   Apps
	Groups func() []string // of workers; nil = not known: any name will do
}

// Apps are those that an order may name, by their ids, and how many bytes of data
// an event there may have; 0 = no limit.
type Apps map[string]int

// Budget is what is left of a request's MaxTargets and MaxBytes. The zero value
// is a whole one; a request of several orders hands the same to each.
type Budget struct{ targets, bytes int }

// spend takes what publications to n targets will cost. bytes is asked only
// when the targets are within their bound.
func (b *Budget) spend(n int, bytes func() int) error {
	if b.targets += n; b.targets > MaxTargets {
		return &Error{Cause: TooMany, Message: fmt.Sprintf("%d targets, at most %d in one request", b.targets, MaxTargets)}
	}
	if b.bytes += bytes(); b.bytes > MaxBytes {
		return &Error{Cause: TooLarge, Field: "data",
			Message: "data is over 16 MiB for all targets together: use a channel, or several requests"}
	}
	return nil
}

// Known reports whether there is such a verb.
func Known(verb string) bool { return verbs[verb].build != nil }

// Verbs lists them in alphabetical order.
func Verbs() []string { return slices.Sorted(maps.Keys(verbs)) }

// Parse turns the fields of an order into its publications, at least one. Data
// may refer to the fields. Its error is an *Error. The verb must be Known.
func Parse(verb string, f Fields, known Names, b *Budget) ([]worker.Publication, error) {
	v := verbs[verb]
	r, err := parseRequest(f, v.fields)
	if err != nil {
		return nil, err
	}
	d, err := v.build(r)
	if err != nil {
		return nil, err
	}
	return d.publications(known, b)
}

// UIDs reads the fields uid and uids of a question about users, 1 to MaxTargets
// of them together. Its error is an *Error.
func UIDs(f Fields) ([]string, error) {
	r, err := parseRequest(f, []string{"uid", "uids"})
	switch {
	case err != nil:
		return nil, err
	case len(r.uids) == 0:
		return nil, invalid("uids", "uid or uids is needed")
	case len(r.uids) > MaxTargets:
		return nil, &Error{Cause: TooMany, Field: "uids", Message: fmt.Sprintf("at most %d uids", MaxTargets)}
	}
	return r.uids, nil
}

// VerbOf tells, of an object that names no verb, which one is meant, and takes
// away the field that says nothing else.
func VerbOf(f Fields) (string, error) {
	if v, ok := f["broadcast"]; ok {
		delete(f, "broadcast")
		if string(v) != "true" {
			return "", invalid("broadcast", "broadcast: must be true")
		}
		return "broadcast", nil
	}
	for _, m := range []struct{ field, verb string }{
		{"channel", "publish"}, {"channels", "publish"},
		{"uid", "send"}, {"uids", "send"}, {"connection", "send"}, {"connections", "send"},
	} {
		if _, ok := f[m.field]; ok {
			return m.verb, nil
		}
	}
	return "", invalid("channel", `no target: channel(s), uid(s), connection(s) or "broadcast":true is needed`)
}
