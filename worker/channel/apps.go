package channel

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Apps are the ids of the apps, whose channels are "ID:NAME" on the bus.
type Apps map[string]bool

// Of returns the app of the channel of that name, "" if it is none's.
func (a Apps) Of(name string) string {
	if id, _, ok := strings.Cut(name, ":"); ok && a[id] {
		return id
	}
	return ""
}

// NewApps makes a set of ids.
func NewApps(ids []string) Apps {
	a := make(Apps, len(ids))
	for _, id := range ids {
		a[id] = true
	}
	return a
}

// HasHistory reports whether messages of the channel of that name are numbered
// and kept. Any goroutine.
func (rules Rules) HasHistory(name string) bool { return rules.Of(name).History > 0 }

// Historic returns the first rule that gives channels a history, -1 if none does.
func (rules Rules) Historic() int {
	return slices.IndexFunc(rules, func(r Rule) bool { return r.History != nil && *r.History > 0 || r.Mode == Latest })
}

// Ordered returns HasHistory, nil where no channel has any.
func (rules Rules) Ordered() func(name string) bool {
	if rules.Historic() < 0 {
		return nil
	}
	return rules.HasHistory
}

// Historical says as a text which channels of an app, "" = of none, have a
// history. Where the text is the same, so are the channels.
func (rules Rules) Historical(app string) string {
	var b strings.Builder
	for r := range rules.reaching(app) {
		switch {
		case r.History != nil:
			fmt.Fprintf(&b, "%q %t %t %t\n", r.Match, r.App != "", r.Exact, *r.History > 0)
		case r.Mode != "":
			fmt.Fprintf(&b, "%q %t %t %s\n", r.Match, r.App != "", r.Exact, r.Mode)
		}
	}
	return b.String()
}

// Text is all that is said of the channels of an app, "" = of none.
func (rules Rules) Text(app string) string {
	var b strings.Builder
	for r := range rules.reaching(app) {
		history := -1
		if r.History != nil {
			history = *r.History
		}
		fmt.Fprintf(&b, "%q %q %t %d %s %q %q\n", r.Match, r.App, r.Exact, history, r.Age, r.Mode, r.Slow)
	}
	return b.String()
}

// reaching are the rules that may be for channels of an app, "" = of none.
func (rules Rules) reaching(app string) iter.Seq[*Rule] {
	return func(yield func(*Rule) bool) {
		for i := range rules {
			r := &rules[i]
			if (r.App == app || r.App == "" && r.reaches(app+":")) && !yield(r) {
				return
			}
		}
	}
}

// reaches reports whether a rule without an app may match a name on the bus that
// begins so.
func (r *Rule) reaches(begin string) bool {
	prefix, open := strings.CutSuffix(r.Match, "*")
	return strings.HasPrefix(prefix, begin) || open && strings.HasPrefix(begin, prefix)
}

// cacheAge is how long a cache channel of the Pusher protocol keeps its last event.
const cacheAge = 30 * time.Minute

// CacheRules are the rules of the cache channels of apps, public or not, which
// keep their last event.
func CacheRules(apps []string) (rules Rules) {
	for _, id := range apps {
		rules = append(rules, Rule{Match: "cache-*", App: id, Age: cacheAge, Mode: Latest})
	}
	return rules
}
