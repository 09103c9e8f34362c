package nodes

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// Verdict is what a sign of life means to who has heard it.
type Verdict int

const (
	Old     Verdict = iota // nothing new, or nothing that counts
	News                   // the table has changed
	Met                    // likewise: the node was not known, or was lost
	Mine                   // our own, back from the bus
	Refused                // no node of ours would send it, or the table is full
	Taken                  // the name of this node is somebody else's: give up
	Rival                  // somebody wants our name, and has to hear that we have it
)

// Hear takes in a sign of life.
func (t *Table) Hear(s *Sign, now time.Time) Verdict {
	if s.check() != nil {
		t.refused++
		return Refused
	}
	if s.Node == t.me.Node {
		return t.hearOwn(s, now)
	}
	o := t.others[s.Node]
	switch {
	case s.State == Joining: // it asks for its name, and is nobody yet
		return Old
	case o == nil && s.State == Leaving && len(s.Workers) == 0: // its last word
		return Old
	case o == nil:
		if !t.room() {
			t.refused++
			return Refused
		}
		o = &other{}
		t.others[s.Node] = o
	case !o.accepts(s, now, t.times.Quiet):
		t.overtaken++
		return Old
	}
	t.measure(o, s, now)
	met := o.State == "" || o.State == Lost
	switch changed := o.take(s, now); {
	case met:
		return Met
	case changed:
		return News
	}
	return Old
}

// Counts reports whether the sign was that of another node.
func (v Verdict) Counts() bool { return v == Old || v == News || v == Met }

// room reports whether the table takes another node. When it is full, the one
// that has been lost for longest makes room.
func (t *Table) room() bool {
	if len(t.others) < MaxNodes {
		return true
	}
	var oldest *other
	for _, o := range t.others {
		if o.State == Lost && (oldest == nil || o.Heard.Before(oldest.Heard)) {
			oldest = o
		}
	}
	if oldest == nil {
		return false
	}
	delete(t.others, oldest.Name)
	return true
}

// hearOwn judges a sign under our own name.
func (t *Table) hearOwn(s *Sign, now time.Time) Verdict {
	mine := now.Sub(t.born).Milliseconds()
	switch {
	case s.Epoch == t.me.Epoch:
		return Mine
	case s.Token != 0 && s.Token == t.me.Token, t.me.State == Leaving:
		return Old // the process before this one, or after it
	case s.State == Leaving: // wait until it is gone
		t.rival = now
		return Old
	case (s.State == Joining) != (t.me.State == Joining): // who has the name keeps it
		if t.me.State == Joining {
			return Taken
		}
		return Rival
	case s.AgeMS > mine+ageDoubt, s.AgeMS > mine-ageDoubt && s.Epoch < t.me.Epoch: // both have it, or want it
		return Taken
	}
	return Rival
}

// ageDoubt is how exactly two ages, of which one was on its way, can be compared,
// ms. Within it the lower epoch has the name, which both see alike.
const ageDoubt = 1000

// accepts reports whether a sign counts: it is the next of the process that has
// the name, or of one that may have it.
func (o *other) accepts(s *Sign, now time.Time, quiet time.Duration) bool {
	switch {
	case s.Epoch == o.Epoch:
		return s.N > o.n || s.N == 0
	case s.Epoch == o.former: // late, or it has won the name back
	case s.Token == 0, s.Token == o.token, o.token == 0:
		return true
	}
	return now.Sub(o.Heard) > quiet // else somebody uses the name of a node that is there
}

// take notes what was said and reports whether it changes the table.
func (o *other) take(s *Sign, now time.Time) (changed bool) {
	if s.Epoch != o.Epoch {
		o.former, o.answered, o.RTT = o.Epoch, 0, 0
		changed = true
	}
	before := o.Before
	if s.Epoch != o.Epoch {
		before = o.Heard
	}
	state := s.State
	if state != Leaving { // a word of a later version is no reason to miss a node
		state = Ready
	}
	changed = changed || state != o.State || s.Version != o.Version || s.Apps != o.Apps || s.Rules != o.Rules ||
		!slices.Equal(s.Workers, o.Workers) || !slices.Equal(s.Speaks, o.Speaks) || !maps.EqualFunc(s.Words, o.Words, bytes.Equal)
	o.token, o.n = s.Token, s.N
	o.Node = Node{
		Name: s.Node, Epoch: s.Epoch, Version: s.Version, State: state, Workers: s.Workers,
		Apps: s.Apps, Rules: s.Rules, Speaks: s.Speaks, RTT: o.RTT, Heard: now, Before: before, Words: s.Words,
	}
	o.At = s.At
	return changed
}

// measure learns from an echo how far away a node is: our sign's way there and
// the way of this one back. The mean forgets half in three echoes.
func (t *Table) measure(o *other, s *Sign, now time.Time) {
	e := s.Echo
	if e == nil || e.Node != t.me.Node || e.Epoch != t.me.Epoch || e.HeldUS < 0 || e.N == 0 || e.N > t.me.N || t.me.N-e.N >= uint64(len(t.sent)) {
		return
	}
	rtt := now.Sub(t.sent[e.N%uint64(len(t.sent))]) - time.Duration(e.HeldUS)*time.Microsecond
	switch {
	case rtt <= 0:
	case o.RTT == 0:
		o.RTT = rtt
	default:
		o.RTT += (rtt - o.RTT) / 4
	}
}

// Change is a node that is thought of differently.
type Change struct {
	Name string
	From State
	To   State // "" = it is forgotten
}

// Sweep draws the conclusions from silence. Call it each Beat. Time in which it
// was not called, since this process was stopped or starved, is no silence of the
// others: what they have said meanwhile waits to be heard.
func (t *Table) Sweep(now time.Time) (changes []Change) {
	deaf := now.Sub(t.swept) - 2*Beat
	t.swept = now
	for _, name := range t.names() {
		o := t.others[name]
		if deaf > 0 {
			o.Heard = o.Heard.Add(min(deaf, now.Sub(o.Heard)))
		}
		to := t.judge(o, now.Sub(o.Heard))
		if to == o.State {
			continue
		}
		changes = append(changes, Change{name, o.State, to})
		o.State = to
		switch to {
		case Lost:
			o.Workers, o.RTT = nil, 0
		case "":
			delete(t.others, name)
		}
	}
	return changes
}

// judge says what silence makes of a node.
func (t *Table) judge(o *other, silent time.Duration) State {
	switch {
	case o.State == Leaving && silent > t.times.Quiet, silent > t.times.Forget:
		return ""
	case silent > t.times.Lost:
		return Lost
	case silent > t.times.Quiet:
		return Quiet
	}
	return o.State
}
