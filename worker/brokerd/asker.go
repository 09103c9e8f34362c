package brokerd

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/pushd/pushd/protocol/control"
)

// asker puts questions to the master. Its methods may be called by any
// goroutine.
type asker struct {
	control *control.Conn

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*awaited
}

// awaited is an answer on its way.
type awaited struct {
	answer chan control.Message
	parts  control.Join
}

// ask returns the body of the answer, or ctx's error.
func (a *asker) ask(ctx context.Context, q control.Query) (json.RawMessage, error) {
	w := &awaited{answer: make(chan control.Message, 1)}
	a.mu.Lock()
	if a.waiting == nil {
		a.waiting = map[uint64]*awaited{}
	}
	a.last++
	id := a.last
	a.waiting[id] = w
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, id)
		a.mu.Unlock()
	}()
	if err := a.control.Send(control.TypeQuery, id, q); err != nil {
		return nil, err
	}
	select {
	case m := <-w.answer:
		if m.Error != "" {
			return nil, errors.New(m.Error)
		}
		return m.Body, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered hands an answer, once it is whole, to whoever waits for it.
func (a *asker) answered(m control.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiting[m.ID]
	if w == nil || !w.parts.Add(&m) {
		return
	}
	delete(a.waiting, m.ID)
	w.answer <- m // has room for one
}
