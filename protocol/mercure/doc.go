// Package mercure is the bytes of the Mercure protocol, as
// draft-dunglas-mercure-08 ("Mercure 1.0") has them, and of the revisions before
// it where a hub says so (Hub.Compat): which topics a matcher selects, what a
// subscriber asks for, what a publisher sends, what a token grants, and the
// documents of active subscriptions. It has neither a socket nor a clock.
//
// All that strangers send is bounded: see the constants. A pattern becomes a
// program of Go's regexp, whose time is linear in the topic, and of at most
// MaxProgram instructions.
package mercure

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// Bounds of what strangers send.
const (
	MaxMatchers = 100  // of a subscription, and topics of a detail in a token
	MaxTopics   = 100  // of an update
	MaxTopic    = 2048 // bytes of a topic or a matcher
	MaxDetails  = 200  // authorization details of a token
	MaxProgram  = 512  // instructions of one pattern
	MaxPatterns = 2048 // instructions of all patterns of a subscription or a token
	MaxField    = 256  // bytes of the fields id, type and retry
	MaxPayload  = 4096 // bytes of the payload of a detail
)

// Earliest is the position in front of all events.
const Earliest = "earliest"

// EventType is the SSE event of what the hub says itself.
const EventType = "mercure"

// DefaultPath is the path of a hub's URL unless it says otherwise.
const DefaultPath = "/.well-known/mercure"

var (
	errEmpty   = errors.New("is empty")
	errLong    = errors.New("is too long")
	errUTF8    = errors.New("is not UTF-8")
	errControl = errors.New("has a control or format character")
)

// CheckText holds a text to what topics, matchers, ids and types have in common:
// UTF-8 without control characters and without those that nobody sees (category
// Cf), in at most limit bytes.
func CheckText(s string, limit int) error {
	switch {
	case len(s) > limit:
		return errLong
	case !utf8.ValidString(s):
		return errUTF8
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return errControl
		}
	}
	return nil
}

// CheckTopic says what is wrong with a topic.
func CheckTopic(s string) error {
	if s == "" {
		return errEmpty
	}
	return CheckText(s, MaxTopic)
}
