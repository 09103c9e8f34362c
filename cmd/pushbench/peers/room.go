package main

import "sync"

// rooms holds who is in which room, for servers whose connections are served
// by several goroutines.
type rooms[C comparable] struct {
	mu    sync.RWMutex
	rooms map[string]map[C]struct{}
}

func (r *rooms[C]) join(name string, c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rooms == nil {
		r.rooms = map[string]map[C]struct{}{}
	}
	if r.rooms[name] == nil {
		r.rooms[name] = map[C]struct{}{}
	}
	r.rooms[name][c] = struct{}{}
}

func (r *rooms[C]) leave(name string, c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rooms[name], c)
	if len(r.rooms[name]) == 0 {
		delete(r.rooms, name)
	}
}

// others calls send for everyone in the room but c.
func (r *rooms[C]) others(name string, c C, send func(C)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for member := range r.rooms[name] {
		if member != c {
			send(member)
		}
	}
}
