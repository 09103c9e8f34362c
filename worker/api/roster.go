package api

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pushd/pushd/protocol/control"
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

// groupOf returns the group of a worker, "" of what is none.
func groupOf(worker string) string {
	id, _ := control.ParseIdentity(worker)
	return id.Group
}

// meetTry is how long one question of Meet waits for its answers.
const meetTry = 50 * time.Millisecond

// Meet returns once every worker on the roster has answered over the bus, or
// when ctx is over.
func (s *Server) Meet(ctx context.Context) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, meetTry)
		all, err := s.query(try, "stats", nil, "", func(json.RawMessage) error { return nil })
		if err == nil && all {
			cancel()
			return
		}
		<-try.Done() // the bus itself may be away
		cancel()
	}
}
