package cmd

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
	waiting map[uint64]chan control.Message
}

// ask returns the body of the answer, or ctx's error.
func (a *asker) ask(ctx context.Context, q control.Query) (json.RawMessage, error) {
	answer := make(chan control.Message, 1)
	a.mu.Lock()
	if a.waiting == nil {
		a.waiting = map[uint64]chan control.Message{}
	}
	a.last++
	id := a.last
	a.waiting[id] = answer
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
	case m := <-answer:
		if m.Error != "" {
			return nil, errors.New(m.Error)
		}
		return m.Body, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered hands an answer to whoever waits for it.
func (a *asker) answered(m control.Message) {
	a.mu.Lock()
	answer := a.waiting[m.ID]
	delete(a.waiting, m.ID)
	a.mu.Unlock()
	if answer != nil {
		answer <- m
	}
}
