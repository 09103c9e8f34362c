package broker

import (
	"slices"
	"sync"

	"github.com/pushd/pushd/protocol/control"
)

// roster names the worker processes that live. Whoever asks all of them has to
// know who they are: the client in the broker process is told by its Host at
// each change, all others by a Host's answer to the question.
type roster struct {
	mu      sync.Mutex
	names   []string      // nil: not known
	changed chan struct{} // closed by the next change
}

func newRoster() *roster { return &roster{changed: make(chan struct{})} }

func (r *roster) set(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append([]string{}, names...)
	close(r.changed)
	r.changed = make(chan struct{})
}

// get returns the names, not to be changed, and a channel that is closed when
// they are no longer right.
func (r *roster) get() ([]string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.names), r.changed
}

// SetRoster names the worker processes of all nodes. The Host of the broker
// process tells it to its client.
func (c *Client) SetRoster(workers []string) { c.roster.set(workers) }

// Groups lists the worker groups of which a process lives, on any node, once for
// each process.
func (c *Client) Groups() (list []string) {
	names, _ := c.roster.get()
	for _, name := range names {
		if id, ok := control.ParseIdentity(name); ok {
			list = append(list, id.Group)
		}
	}
	return list
}
