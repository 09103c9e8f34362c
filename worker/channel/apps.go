package channel

import "strings"

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

// Ordered returns HasHistory, nil where no channel has any.
func (rules Rules) Ordered() func(name string) bool {
	for i := range rules {
		if h := rules[i].History; h != nil && *h > 0 || rules[i].Mode == Latest {
			return rules.HasHistory
		}
	}
	return nil
}
