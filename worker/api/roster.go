package api

import (
	"slices"
	"strings"
	"sync"
)

// roster is the list of live workers.
type roster struct {
	mu      sync.Mutex
	names   []string
	changed chan struct{} // closed by the next change
}

func newRoster() *roster { return &roster{changed: make(chan struct{})} }

func (r *roster) set(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = slices.Clone(names)
	close(r.changed)
	r.changed = make(chan struct{})
}

// get returns the names, not to be changed, and a channel that is closed when
// they are no longer right.
func (r *roster) get() ([]string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names, r.changed
}

// group returns the names of one worker group, "" = all.
func (r *roster) group(group string) []string {
	all, _ := r.get()
	if group == "" {
		return all
	}
	var names []string
	for _, name := range all {
		if groupOf(name) == group {
			names = append(names, name)
		}
	}
	return names
}

// groupOf returns the group of "group/slot/generation".
func groupOf(worker string) string {
	for range 2 {
		i := strings.LastIndexByte(worker, '/')
		if i < 0 {
			break
		}
		worker = worker[:i]
	}
	return worker
}
