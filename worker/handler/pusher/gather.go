package pusher

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/keeper"
)

// What the worker processes ask each other.
const (
	queryCount = "pusher.count" // names on the bus → members of each
	queryList  = "pusher.list"  // prefix of names on the bus → listing
	queryApp   = "pusher.app"   // id of an app → its connections
	queryEnd   = "pusher.end"   // ending → null, when it is done
)

// gatherTimeout is how long the other processes have to answer.
const gatherTimeout = 250 * time.Millisecond

// maxListing bounds the names in an answer, in bytes.
const maxListing = 512 << 10

// listing are channels of one process and their members here.
type listing struct {
	Channels map[string]int `json:"c"`
	More     bool           `json:"more,omitempty"` // there are others, too many to list
}

// OnQuery answers the other processes.
func (h *Handler) OnQuery(what string, args []byte) ([]byte, error) {
	switch what {
	case queryCount:
		var names []string
		if err := json.Unmarshal(args, &names); err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		counts := make([]int, len(names))
		for i, name := range names {
			counts[i] = h.w.CountMembers(name)
		}
		return json.Marshal(counts)
	case queryRoom:
		return json.Marshal(h.w.CountMembers(keeper.Name(string(args), "")))
	case queryApp:
		return json.Marshal(h.countApp(string(args)))
	case queryEnd:
		return []byte("null"), h.closeUser(args)
	case queryList:
		return json.Marshal(h.list(string(args)))
	}
	return nil, nil
}

// countApp counts the connections of an app in this process.
func (p *process) countApp(id string) int {
	switch a := p.byID[id]; {
	case a == nil:
		return 0
	case p.moving:
		return p.recount(a)
	default:
		return a.connections
	}
}

// recount looks at each connection.
func (p *process) recount(a *app) (n int) {
	p.w.Connections(func(c *worker.Conn) bool {
		if p.app(c) == a && c.Get(refusedKey) == "" {
			n++
		}
		return true
	})
	return n
}

// list lists the channels whose names begin with prefix.
func (p *process) list(prefix string) listing {
	l, size := listing{Channels: map[string]int{}}, 0
	p.w.Channels(func(name string, members int) bool {
		if !strings.HasPrefix(name, prefix) {
			return true
		}
		if size += len(name) + 8; size > maxListing {
			l.More = true
			return false
		}
		l.Channels[name] = members
		return true
	})
	return l
}

// countMembers calls done on the loop with the members that channels of the bus
// have in all processes.
func (p *process) countMembers(names []string, done func(counts []int, complete bool)) {
	args, err := json.Marshal(names)
	if err != nil {
		args = nil // strings only
	}
	most := make([]int, len(names))
	p.gather(queryCount, args, samples, func(answers []worker.Answer) {
		total := make([]int, len(names))
		for _, a := range answers {
			var counts []int
			if a.Data == nil || json.Unmarshal(a.Data, &counts) != nil || len(counts) != len(total) {
				continue // a process without this handler
			}
			for i, n := range counts {
				total[i] += n
			}
		}
		for i, n := range total {
			most[i] = max(most[i], n)
		}
	}, func(complete bool) { done(most, complete) })
}

// countConnections calls done on the loop with the connections of an app in all
// processes.
func (p *process) countConnections(a *app, done func(n int, complete bool)) {
	most := 0
	p.gather(queryApp, []byte(a.ID), samples, func(answers []worker.Answer) {
		total := 0
		for _, answer := range answers {
			var n int
			if answer.Data != nil && json.Unmarshal(answer.Data, &n) == nil {
				total += n
			}
		}
		most = max(most, total)
	}, func(complete bool) { done(most, complete) })
}

// listChannels calls done on the loop with the channels of an app in all
// processes, by the names that its clients know. more says that there are too
// many to list.
func (p *process) listChannels(a *app, prefix string, done func(counts map[string]int, more, complete bool)) {
	most, more := map[string]int{}, false
	p.gather(queryList, []byte(a.channel(prefix)), samples, func(answers []worker.Answer) {
		total := map[string]int{}
		for _, answer := range answers {
			var l listing
			if answer.Data == nil || json.Unmarshal(answer.Data, &l) != nil {
				continue
			}
			more = more || l.More
			for name, n := range l.Channels {
				if name = name[len(a.ID)+1:]; isChannel(name) {
					total[name] += n
				}
			}
		}
		for name, n := range total {
			most[name] = max(most[name], n)
		}
	}, func(complete bool) { done(most, more, complete) })
}

// While a reload moves connections, those on their way are in no process for a
// moment, and a process may leave before it has answered. So the question is
// put several times then, and the largest numbers count; a connection that moves
// between two answers of a round may count twice.
const (
	samples     = 4
	samplePause = 20 * time.Millisecond
)

// gather puts a question to all processes, up to n times, and hands the answers
// of each round to take; then it calls done.
func (p *process) gather(what string, args []byte, n int, take func([]worker.Answer), done func(complete bool)) {
	p.w.Gather(what, args, gatherTimeout, func(answers []worker.Answer, complete bool) {
		take(answers)
		if n == 1 || complete && !moving(answers) {
			done(complete)
			return
		}
		if p.pause(func() { p.gather(what, args, n-1, take, done) }) != nil {
			done(complete)
		}
	})
}

// pause runs fn on the loop after samplePause, not by a timer of the worker:
// those rest in a process that is being replaced.
func (p *process) pause(fn func()) error {
	return p.w.Go(func() {
		time.Sleep(samplePause)
		_ = p.w.Post(fn) // a stopped worker has no one to answer
	})
}

// moving reports whether two processes have answered for one slot.
func moving(answers []worker.Answer) bool {
	slots := make(map[control.Identity]bool, len(answers))
	for _, a := range answers {
		id, _ := control.ParseIdentity(a.Worker)
		slot := id.Place()
		if slots[slot] {
			return true
		}
		slots[slot] = true
	}
	return false
}
