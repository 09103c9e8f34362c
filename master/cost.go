package master

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// What a reload costs: the clients that a process has yet when it is told to leave, those
// that it or the next one has closed since a program beside it could not go on with them,
// and those of a process that has died of the reload or in it.

// clients is what a worker says of its clients, a part of its "stats".
type clients struct {
	Connections int
	Ending      int // of them those that are about to end
	Scripts     []struct {
		Doubts  int `json:"closed_in_doubt"`
		Strands int `json:"closed_held"`
	}
	told bool // now, and not before it stood still
}

// closed returns how many were closed since no program goes on with them.
func (c clients) closed() (n int) {
	for _, s := range c.Scripts {
		n += s.Doubts + s.Strands
	}
	return n
}

// clientsOf asks a worker; of one that does not answer it is what that has said last.
func (m *master) clientsOf(ctx context.Context, p *process) clients {
	return p.clients(ctx, control.QueryClients, m.t.query)
}

func (p *process) clients(ctx context.Context, what string, bound time.Duration) (c clients) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	raw, err := p.ask(ctx, control.TypeQuery, control.Query{What: what})
	if err != nil { // of a version that does not know it
		raw, err = p.ask(ctx, control.TypeQuery, control.Query{What: "stats"})
	}
	if err != nil {
		raw = p.numbers()
	}
	_ = json.Unmarshal(raw, &c) // a report's numbers, no more
	c.told = err == nil
	return c
}

// closedIn returns how many a worker has closed since before, once its programs have taken
// in what has moved to it.
func (m *master) closedIn(ctx context.Context, p *process, before clients) int {
	if !p.unit.scripts {
		return 0
	}
	return max(p.clients(ctx, control.QuerySettled, m.t.boot).closed()-before.closed(), 0)
}

// served is a slot's process, nil = none, and what it has said of its clients before they moved.
type served struct {
	p *process
	clients
}

// servedBy asks the process of a slot. It runs on the verbs' goroutine.
func (m *master) servedBy(ctx context.Context, s *slot) served {
	var p *process
	m.do(func() { p = s.proc })
	return m.serves(ctx, p)
}

func (m *master) serves(ctx context.Context, p *process) (is served) {
	if is.p = p; p != nil {
		is.clients = m.clientsOf(ctx, p)
	}
	return is
}

// succeeded returns what serves by now: that of before, or p, nil = none, which is in its
// place since it has died. Its clients are counted then.
func (m *master) succeeded(ctx context.Context, was served, p *process, e *exchange) served {
	if p == was.p {
		return was
	}
	was.left(e, 0)
	return m.serves(ctx, p)
}

// cost returns how many connections the process takes with it that it still had, and how
// many its programs have cost, when it says now; else who of before has not moved.
func (w served) cost(now clients, moved control.Exported) int {
	if !now.told {
		return max(w.Connections-w.Ending-moved.Moved, 0)
	}
	return max(now.Connections-now.Ending, 0) + max(now.closed()-w.closed(), 0)
}

// left counts the clients of a process that has died before it was told to leave, once. It
// has said no numbers: what has moved is there, in the next process.
func (w served) left(e *exchange, there int) {
	if w.p == nil || !w.p.isGone() || w.p.pid == e.oldPID {
		return
	}
	if e.moved.Moved == 0 {
		e.moved.Moved = min(there, w.Connections)
	}
	e.oldPID, e.drained = w.p.pid, e.drained+w.cost(clients{}, e.moved)
}
