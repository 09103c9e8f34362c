package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// rights notes what the servers refuse to the user of a link. They do so aside of the
// call, which never hears of it.
type rights struct {
	prefix string // of our own subjects

	mu    sync.Mutex
	bus   error       // why this link is not on the bus; nil = it is
	other func(error) // is told what else is refused; nil = nobody is
}

// note takes in an error of the connection; others than of rights do nothing.
func (r *rights) note(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	says := strings.TrimPrefix(err.Error(), nats.ErrPermissionViolation.Error()+": ")
	_, subject, _ := strings.Cut(says, `"`)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case strings.HasPrefix(subject, r.prefix+"."):
		r.bus = fmt.Errorf("%w to publish and to subscribe to %s.>: %s", ErrRights, r.prefix, says)
	case r.other != nil:
		r.other(fmt.Errorf("the user of NATS has not the rights of a client of JetStream: %s", says))
	}
}

// refused says why this link is not on the bus.
func (r *rights) refused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bus
}

// forget begins anew with the next connection, whose server may think otherwise.
func (r *rights) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bus = nil
}

// tell has what else is refused told to one. It must not block, nor call back.
func (r *rights) tell(other func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.other = other
}

// Refused says which rights the user of NATS has not, without which this client is not
// on the bus; nil = none.
func (c *Client) Refused() error { return c.link.rights.refused() }
