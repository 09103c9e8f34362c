package channel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a rule.
const (
	MaxHistory = 10_000
	MinAge     = time.Second
	MaxMatch   = 256 // bytes; what of an app's channels the bus adds is not counted
	MaxRules   = 1000
)

// Fault is something wrong with one rule. Its text begins with what the rule is
// for.
type Fault struct {
	Rule int    // its number
	Key  string // "match", "age" …; "" = all of the rule
	Err  error
}

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// Check finds what makes no sense, by itself or together.
func (rules Rules) Check() (faults []Fault) {
	if len(rules) > MaxRules {
		return []Fault{{MaxRules, "", fmt.Errorf("%d rules for channels: at most %d", len(rules), MaxRules)}}
	}
	for i := range rules {
		if key, err := rules[i].check(); err != nil {
			faults = append(faults, Fault{i, key, err})
		}
	}
	if len(faults) == 0 {
		faults = rules.torn()
	}
	return faults
}

func (r *Rule) check() (key string, err error) {
	star := strings.IndexByte(r.Match, '*')
	switch {
	case r.Match == "" || star >= 0 && star < len(r.Match)-1:
		return "match", fmt.Errorf(`%q: write a channel's name, or its beginning and "*"`, short(r.Match))
	case len(r.Match) > MaxMatch || !utf8.ValidString(r.Match) || strings.ContainsFunc(r.Match, unicode.IsControl):
		return "match", fmt.Errorf("%q: at most %d bytes of text, without control characters", short(r.Match), MaxMatch)
	case r.Exact && r.App == "":
		return "exact", errors.New(`counts with app = "…" only: without one, match is the name on the bus`)
	case r.sets() == 0:
		return "", fmt.Errorf("match = %q says nothing of its channels: set history, age, mode or slow", r.Match)
	case r.History != nil && (*r.History < 0 || *r.History > MaxHistory):
		return "history", fmt.Errorf("%d: a channel keeps 0 to %d messages", *r.History, MaxHistory)
	case r.Age != 0 && r.Age < MinAge:
		return "age", fmt.Errorf("%s: messages are kept for at least %s", r.Age, MinAge)
	case r.Mode != "" && r.Mode != Stream && r.Mode != Latest:
		return "mode", fmt.Errorf(`%q: use "stream" or "latest"`, short(string(r.Mode)))
	case r.Slow != "":
		return "slow", r.Slow.Check()
	}
	return "", nil
}

// Check names what it may be.
func (s Slow) Check() error {
	if s != SlowClose && !s.Loose() {
		return fmt.Errorf(`slow = %q: use "close", "drop-oldest" or "latest"`, short(string(s)))
	}
	return nil
}

// short keeps what somebody wrote from filling the screen.
func short(s string) string {
	if len(s) <= MaxMatch {
		return s
	}
	return s[:MaxMatch] + "…"
}

// torn finds channels that promise every message and may forget some.
func (rules Rules) torn() (faults []Fault) {
	told := map[int]bool{}
	for _, name := range rules.samples() {
		p, from := rules.Trace(name)
		if p.Mode != Stream || !p.Slow.Loose() || told[from.Slow] {
			continue
		}
		told[from.Slow] = true
		what := "they have"
		if h := from.History; h != from.Slow {
			what = fmt.Sprintf("some have, by match = %q,", rules[h].Match)
		}
		faults = append(faults, Fault{from.Slow, "slow", fmt.Errorf(
			`%q forgets messages of match = %q, and %s a history from which none may be missing: use slow = "close" or mode = "latest"`,
			p.Slow, rules[from.Slow].Match, what)})
	}
	return faults
}

// Idle finds rules that no channel can reach: those before them say the same of
// all their channels, or there is no such app, or no channel of an app has such
// a name (valid judges a name without "*").
func (rules Rules) Idle(apps []string, valid func(name string) bool) (faults []Fault) {
	used := make([]bool, len(rules))
	for _, name := range rules.samples() {
		_, from := rules.Trace(name)
		for _, i := range []int{from.History, from.Age, from.Mode, from.Slow} {
			if i >= 0 {
				used[i] = true
			}
		}
	}
	for i := range rules {
		if err := rules[i].idle(used[i], apps, valid); err != nil {
			faults = append(faults, Fault{i, "match", err})
		}
	}
	return faults
}

func (r *Rule) idle(used bool, apps []string, valid func(name string) bool) error {
	name := strings.TrimSuffix(r.Match, "*")
	switch {
	case r.App != "" && !slices.Contains(apps, r.App):
		return fmt.Errorf("no channel has match = %q: there is no [[app]] with the id %q", r.Match, r.App)
	case r.App != "" && name != "" && !valid(name):
		return fmt.Errorf("no channel has match = %q: channels of an app have no such names", r.Match)
	case r.App == "" && Bare(name) != name:
		return fmt.Errorf(`match = %q is of no app: channels of one have its id before their names, so write app = "…" or match = "ID:%s"`, r.Match, r.Match)
	case !used:
		return fmt.Errorf("match = %q is never asked: rules before it say all of this for the same channels", r.Match)
	}
	return nil
}

// samples returns a name for each set of channels that the rules treat alike.
// Matches are names and beginnings of names, so such a set is what a match
// stands for less what narrower ones do; a name that goes on as no match does is
// in it.
func (rules Rules) samples() (names []string) {
	const other = "\x00" // in no match
	for i := range rules {
		r := &rules[i]
		name, app := r.Match, ""
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			name = prefix + other
		}
		if r.App != "" {
			app = r.App + ":"
		}
		names = append(names, app+name)
		if !r.literal() {
			for _, p := range prefixes {
				names = append(names, app+p+name)
			}
		}
	}
	return names
}
