// Package channel is what the config says of channels by their names: how much
// of their history is kept, and what becomes of their messages when a client
// reads too slowly.
package channel

import (
	"strings"
	"time"
)

// Mode says what a client gets that joins a channel with history, or comes back
// to one.
type Mode string

// Modes.
const (
	Stream Mode = "stream" // all that it has missed, or the word that it cannot be had; default
	Latest Mode = "latest" // the newest message
)

// Slow says what happens when the queue of a connection is over max_queue.
type Slow string

// What happens.
const (
	SlowClose      Slow = "close"       // close it with 1013
	SlowDropOldest Slow = "drop-oldest" // forget the messages that have waited longest
	SlowLatest     Slow = "latest"      // keep only the newest message
)

// Loose reports whether messages may be forgotten.
func (s Slow) Loose() bool { return s == SlowDropOldest || s == SlowLatest }

// DefaultAge is how long messages are kept where a rule names their number only.
const DefaultAge = 5 * time.Minute

// Policy is what holds for one channel. The zero value is a channel of which
// the config says nothing.
type Policy struct {
	History int           // messages that are kept; 0 = none
	Age     time.Duration // how long at most; positive if History is
	Mode    Mode          // "" without history
	Slow    Slow          // "" = as the group says
}

// Rule is an entry [[channel]]. A field that is not set leaves its property to
// the rules behind it.
type Rule struct {
	// Match is a name, or its beginning and "*". Without App it is the name on
	// the bus, which of an app's channels is "ID:name". With App it is a name as
	// clients of the Pusher protocol write it. One without a prefix ("chat.*")
	// then stands, as in Laravel Echo, for the public, private, encrypted and
	// presence channels of that name; one with a prefix ("private-chat.*") for
	// itself.
	Match string `json:"match"`
	App   string `json:"app,omitempty"`   // id
	Exact bool   `json:"exact,omitempty"` // Match stands for itself, whatever it begins with

	History *int          `json:"history,omitempty"`
	Age     time.Duration `json:"age,omitempty"`
	Mode    Mode          `json:"mode,omitempty"`
	Slow    Slow          `json:"slow,omitempty"`
}

// Rules are all entries. Of each property the first rule counts that matches
// and sets it.
type Rules []Rule

// property is a set of fields of Policy.
type property uint8

const (
	history property = 1 << iota
	age
	mode
	slow
	all = history | age | mode | slow
)

// Of returns what holds for the channel of that name on the bus. It allocates
// nothing. Any goroutine.
func (rules Rules) Of(name string) (p Policy) {
	open := all
	for i := range rules {
		if r := &rules[i]; r.Matches(name) {
			open &^= r.give(&p, open)
		}
	}
	p.complete(open)
	return p
}

// Source says which rule each property of a policy comes from, -1 if from none.
type Source struct{ History, Age, Mode, Slow int }

// Trace is Of with the rules that decide.
func (rules Rules) Trace(name string) (p Policy, from Source) {
	from = Source{-1, -1, -1, -1}
	open := all
	for i := range rules {
		if r := &rules[i]; r.Matches(name) {
			given := r.give(&p, open)
			from.note(given, i)
			open &^= given
		}
	}
	p.complete(open)
	return p, from
}

func (s *Source) note(given property, rule int) {
	if given&history != 0 {
		s.History = rule
	}
	if given&age != 0 {
		s.Age = rule
	}
	if given&mode != 0 {
		s.Mode = rule
	}
	if given&slow != 0 {
		s.Slow = rule
	}
}

// sets returns the properties that the rule decides.
func (r *Rule) sets() (set property) {
	if r.History != nil {
		set |= history
	}
	if r.Age != 0 {
		set |= age
	}
	if r.Mode != "" {
		set |= mode
	}
	if r.Slow != "" {
		set |= slow
	}
	return set
}

// give fills in the properties that are wanted and that the rule sets, and
// returns them.
func (r *Rule) give(p *Policy, want property) property {
	want &= r.sets()
	if want&history != 0 {
		p.History = *r.History
	}
	if want&age != 0 {
		p.Age = r.Age
	}
	if want&mode != 0 {
		p.Mode = r.Mode
	}
	if want&slow != 0 {
		p.Slow = r.Slow
	}
	return want
}

// complete fills in what follows from what was said: open is what was not.
func (p *Policy) complete(open property) {
	if open&history != 0 && p.Mode == Latest {
		p.History = 1
	}
	switch {
	case p.History == 0:
		p.Age, p.Mode = 0, ""
		return
	case open&age != 0:
		p.Age = DefaultAge
	}
	if open&mode != 0 {
		p.Mode = Stream
	}
}

// Matches reports whether the rule is for the channel of that name on the bus.
func (r *Rule) Matches(name string) bool {
	if r.App != "" {
		if len(name) <= len(r.App) || name[len(r.App)] != ':' || name[:len(r.App)] != r.App {
			return false
		}
		name = name[len(r.App)+1:]
		if !r.literal() {
			name = Bare(name)
		}
	}
	if prefix, ok := strings.CutSuffix(r.Match, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return name == r.Match
}

// literal reports whether Match is compared with whole names: it is not for
// those of an app, or begins as no name in Echo does.
func (r *Rule) literal() bool {
	return r.App == "" || r.Exact || Bare(r.Match) != r.Match
}

// prefixes begin the channels of the Pusher protocol that are not public. One
// that begins another stands behind it.
var prefixes = [...]string{"private-encrypted-", "private-", "presence-"}

// Bare returns a Pusher channel's name without the prefix of its kind, as
// Laravel Echo writes it. "cache-" is part of the name.
func Bare(name string) string {
	if name == "" || name[0] != 'p' {
		return name
	}
	for _, p := range &prefixes {
		if rest, ok := strings.CutPrefix(name, p); ok {
			return rest
		}
	}
	return name
}

// Most is how many messages the channel with the longest history keeps.
func (rules Rules) Most() (n int) {
	n = 1
	for i := range rules {
		if h := rules[i].History; h != nil {
			n = max(n, *h)
		}
	}
	return n
}

// MinAge is the least age that any channel with history has.
func (rules Rules) MinAge() time.Duration {
	least := DefaultAge
	for i := range rules {
		if a := rules[i].Age; a > 0 {
			least = min(least, a)
		}
	}
	return least
}
