package master

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"sort"
	"sync"

	"github.com/pushd/pushd/protocol/control"
)

// sharedStatus lets callers that ask at the same time share one round of
// questions to the workers.
type sharedStatus struct {
	mu   sync.Mutex
	last *round // nil or done = none runs
}

type round struct {
	done   chan struct{}
	status *Status
}

// status asks every worker for its numbers, for timing.query at most; one that
// does not answer is shown with its last ones. Any goroutine may call it.
func (m *master) status() *Status {
	m.statuses.mu.Lock()
	r := m.statuses.last
	if r == nil {
		r = &round{done: make(chan struct{})}
		m.statuses.last = r
		go func() {
			r.status = m.askStatus()
			m.statuses.mu.Lock()
			m.statuses.last = nil
			m.statuses.mu.Unlock()
			close(r.done)
		}()
	}
	m.statuses.mu.Unlock()
	<-r.done
	return r.status
}

// line is a worker's line of the status and where its numbers come from.
type line struct {
	WorkerStatus
	order int      // of the group in the plan
	p     *process // nil = none
}

func (m *master) askStatus() *Status {
	st := &Status{Version: m.o.Version, Master: MasterStatus{PID: os.Getpid(), Started: m.started, Goroutines: runtime.NumGoroutine()}}
	var lines []line
	var before []control.Counters
	var broker *process
	several := false
	m.do(func() {
		if m.broker != nil {
			broker, several = m.broker.proc, m.several()
		}
		lines, st.Broker, st.Reloads = m.linesOf(), m.brokerStatus(), m.reloads
		before, st.Ended = m.endedIn(lines)
		st.Certificates = m.certificates()
		st.DatagramsDropped, st.SocketsGone = m.datagramsDropped(), m.socketsGone()
	})
	ctx, cancel := context.WithTimeout(context.Background(), m.t.query)
	defer cancel()
	var asked sync.WaitGroup
	for i := range lines {
		if p := lines[i].p; p != nil {
			asked.Go(func() {
				lines[i].Stats = p.askStats(ctx)
				lines[i].RSSBytes = rssBytes(p.pid)
			})
		}
	}
	if broker != nil {
		asked.Go(func() { broker.inquire(ctx, control.QueryNodes, &st.Nodes) })
		asked.Go(func() { broker.inquire(ctx, control.QueryServices, &st.Services) })
	}
	asked.Wait()
	switch {
	case len(st.Nodes) > 0 || !several:
	case st.Broker.State == Ready:
		st.NodesUnknown = "the broker process has not answered"
	default:
		st.NodesUnknown = "the broker process is " + string(st.Broker.State)
	}
	st.Workers = make([]WorkerStatus, 0, len(lines))
	for i, l := range lines {
		l.Ended, l.Stats = before[i], plus(l.Stats, before[i])
		st.Workers = append(st.Workers, l.WorkerStatus)
	}
	return st
}

// datagramsDropped asks the kernel. All processes share the sockets, so that
// nobody but the master could count without counting twice. It runs on the loop.
func (m *master) datagramsDropped() map[string]uint64 {
	var all map[string]uint64
	for e, l := range m.listeners {
		if e.network != "udp" {
			continue
		}
		if n := dropsOf(l.fd); n > 0 {
			if all == nil {
				all = map[string]uint64{}
			}
			all["udp://"+l.bound] = n
		}
	}
	return all
}

// socketsGone are the paths of unix sockets that nobody finds any more. It runs
// on the loop.
func (m *master) socketsGone() (paths []string) {
	for e := range m.listeners {
		if e.lost() {
			paths = append(paths, e.address)
		}
	}
	slices.Sort(paths)
	return paths
}

// askStats returns the newest numbers that p has given.
func (p *process) askStats(ctx context.Context) json.RawMessage {
	if p.isReady.Load() {
		if q, err := p.begin(control.TypeQuery, control.Query{What: "stats"}); err == nil {
			if raw, err := q.await(ctx); err == nil {
				p.heard(q.id, raw)
				p.silent.Store(0)
				p.prompt.Store(true)
			}
		}
	}
	if n := p.numbers(); n != nil {
		return n
	}
	return noStats
}

// inquire asks p, a broker process, for a list. One of an earlier version, which would
// not answer, is not asked.
func (p *process) inquire(ctx context.Context, what string, list any) {
	if !p.isReady.Load() || !slices.Contains(p.unit.answers, what) {
		return
	}
	q, err := p.begin(control.TypeQuery, control.Query{What: what})
	if err != nil {
		return
	}
	if raw, err := q.await(ctx); err == nil {
		_ = json.Unmarshal(raw, list)
	}
}

// linesOf makes the status of every slot, and of processes that drain beside
// them. It runs on the loop.
func (m *master) linesOf() []line {
	var lines []line
	order, serves := map[string]int{}, map[*process]bool{}
	for _, s := range m.slots {
		if _, ok := order[s.unit.name]; !ok {
			order[s.unit.name] = len(order)
		}
		p := s.proc
		if p == nil {
			p = s.booting
		}
		serves[p] = true
		lines = append(lines, lineOf(s, p, s.state(), order[s.unit.name]))
	}
	for p := range m.live {
		if p.unit.role == control.RoleWorker && (p.leaving.Load() || p.slot.removed && p.isReady.Load()) && !serves[p] {
			n, ok := order[p.unit.name]
			if !ok {
				n = len(order)
			}
			lines = append(lines, lineOf(p.slot, p, Draining, n))
		}
	}
	sort.Slice(lines, func(i, j int) bool {
		a, b := &lines[i], &lines[j]
		switch {
		case a.order != b.order:
			return a.order < b.order
		case a.Slot != b.Slot:
			return a.Slot < b.Slot
		}
		return a.Generation < b.Generation
	})
	return lines
}

func lineOf(s *slot, p *process, state State, order int) line {
	u := s.unit
	if p != nil {
		u = p.unit
	}
	l := line{order: order, p: p, WorkerStatus: WorkerStatus{
		Name: u.name, Slot: s.index, State: state, Generation: u.generation,
		Listen: u.shown(), Restarts: s.restarts, Stats: noStats,
	}}
	if p != nil {
		l.PID, l.Started = p.pid, p.started
	}
	return l
}

func (m *master) brokerStatus() BrokerStatus {
	if m.broker == nil {
		return BrokerStatus{State: Stopped}
	}
	b := BrokerStatus{State: m.broker.state(), Listen: m.broker.unit.shown()}
	if p := m.broker.proc; p != nil {
		b.PID = p.pid
	} else if p := m.broker.booting; p != nil {
		b.PID = p.pid
	}
	return b
}

// answerChild answers a query that comes from a child: only the broker process
// asks, for the status. It is called by the child's reader and must not block.
func (m *master) answerChild(p *process, q control.Message) {
	var what control.Query
	var issues []control.Issue
	err := json.Unmarshal(q.Body, &what)
	if what.What == control.QueryRenew && err == nil {
		err = json.Unmarshal(what.Args, &issues)
	}
	if err != nil || what.What != "stats" && what.What != control.QueryRenew || p.unit.role != control.RoleBroker {
		_ = p.send(control.Message{Type: control.TypeAnswer, ID: q.ID, Error: "the master answers only stats and renew, and only to the broker process"})
		return
	}
	select {
	case m.upward <- struct{}{}:
	default:
		_ = p.send(control.Message{Type: control.TypeAnswer, ID: q.ID, Error: "too many questions at once"})
		return
	}
	go func() {
		defer func() { <-m.upward }()
		a := control.Message{Type: control.TypeAnswer, ID: q.ID}
		var err error
		if what.What == control.QueryRenew {
			if err = m.renewNow(issues); err != nil {
				a.Error = err.Error()
			}
			_ = p.send(a)
			return
		}
		if a.Body, err = control.Marshal(m.status()); err != nil {
			a.Error = "encode status: " + err.Error()
		}
		for _, part := range control.Split(a) {
			if err := p.send(part); err != nil {
				p.log.Warn("status not sent", "error", err)
				return
			}
		}
	}()
}
