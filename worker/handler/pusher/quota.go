package pusher

import (
	"encoding/json"
	"time"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
)

// An app's max_connections holds for all worker processes together. Each
// connection of such an app is a member of the channel "ID:", by which it counts
// in the process that has it, hand-over or not. A process that may admit no more
// asks all how many they have, and takes its share of what is free; clients that
// have come meanwhile wait with their handshakes. Nobody keeps the sum, so there
// is nothing to put right after a process was killed or replaced.

// queryRoom asks a process how many connections of an app, by its id, it has.
const queryRoom = "pusher.room"

const (
	// roomFresh is how long a process goes by an answer.
	roomFresh = 100 * time.Millisecond
	// roomSpare is what a share must exceed for a rest of it to be kept for
	// those who come next: the last places go only to those who wait for them.
	roomSpare = 32
)

// room is what a process knows of the room in an app with max_connections.
type room struct {
	left    int                      // so many may be admitted …
	full    bool                     // … or none, since there was no room
	until   time.Time                // when it has to be asked again
	others  map[control.Identity]int // connections elsewhere by place, as heard last
	waiting []func()                 // let one of those who wait go on
}

// limited reports whether connections of the app count.
func (a *app) limited() bool { return a.MaxConnections > 0 }

// known reports whether it can be said whether one more has room.
func (r *room) known() bool {
	return len(r.waiting) == 0 && (r.left > 0 || r.full) && time.Now().Before(r.until)
}

// awaitRoom answers a handshake when it is known whether there is room.
func (p *process) awaitRoom(a *app, hs *worker.Handshake) {
	if a == nil || a.Disabled || !a.limited() || a.room.known() {
		return
	}
	hs.Defer()
	p.wait(a, hs.Accept)
}

// awaitPlace runs open when it is known whether there is room.
func (p *process) awaitPlace(a *app, open func()) {
	if !a.limited() || a.room.known() {
		open()
		return
	}
	p.wait(a, open)
}

func (p *process) wait(a *app, goOn func()) {
	a.room.waiting = append(a.room.waiting, goOn)
	if len(a.room.waiting) == 1 {
		p.askRoom(a, samples)
	}
}

// askRoom asks all processes. While a reload moves connections, some may be
// counted twice: then it asks up to n times before it takes the app for full.
func (p *process) askRoom(a *app, n int) {
	p.w.Gather(queryRoom, []byte(a.ID), gatherTimeout, func(answers []worker.Answer, complete bool) {
		r := &a.room
		r.heard(answers, complete, p.w.Identity())
		free := a.MaxConnections - p.w.CountMembers(a.channel(""))
		for _, others := range r.others {
			free -= others
		}
		if free <= 0 && n > 1 && moving(answers) && p.pause(func() { p.askRoom(a, n-1) }) == nil {
			return
		}
		processes := 1 + len(r.others)
		r.left, r.full, r.until = (max(free, 0)+processes-1)/processes, free <= 0, time.Now().Add(roomFresh)
		p.letIn(a)
	})
}

// heard takes the answers. For a slot of which no process has answered in time,
// as for all while the broker is away, what was heard before counts. A process
// that ends during a reload need not answer any more: its successor does.
func (r *room) heard(answers []worker.Answer, complete bool, own string) {
	before := r.others // of our slot: what our predecessor said
	r.others = make(map[control.Identity]int, len(answers))
	for _, answer := range answers {
		var n int
		if answer.Worker != own && answer.Data != nil && json.Unmarshal(answer.Data, &n) == nil {
			id, _ := control.ParseIdentity(answer.Worker)
			r.others[id.Place()] += n
		}
	}
	me, _ := control.ParseIdentity(own)
	for slot, n := range before {
		if _, heard := r.others[slot]; !heard && !complete && slot != me.Place() {
			r.others[slot] = n
		}
	}
}

// letIn lets those who wait go on: as many as have room, or all to be told that
// there is none. For the others it asks again.
func (p *process) letIn(a *app) {
	r := &a.room
	for len(r.waiting) > 0 && (r.left > 0 || r.full) {
		goOn := r.waiting[0]
		r.waiting = r.waiting[1:]
		goOn() // runs OnConnect, which takes a place; not if the client has gone
	}
	if len(r.waiting) > 0 {
		p.askRoom(a, samples)
		return
	}
	r.waiting = nil
	r.left = max(r.left-roomSpare, 0)
}

// takeRoom gives the connection its place in the app, if there is one.
func (a *app) takeRoom(c *worker.Conn) bool {
	if !a.limited() {
		return true
	}
	if a.room.left == 0 {
		return false
	}
	a.room.left--
	c.Join(a.channel(""))
	return true
}

// reserve keeps a place for a connection that is about to be made, and free gives
// it back for it to take. What is not given back is known at the next question.
func (a *app) reserve() (reserved bool) {
	if reserved = a.limited() && a.room.left > 0; reserved {
		a.room.left--
	}
	return reserved
}

func (a *app) free(reserved bool) {
	if reserved {
		a.room.left++
	}
}

// countChannels returns how many channels the connection has besides.
func (a *app) countChannels(c *worker.Conn) int {
	n := c.CountChannels()
	if a.limited() {
		n--
	}
	if isSession(c) {
		n--
	}
	return n
}

// keepRoom is takeRoom for a connection that is here already. The limit may be
// of a new config.
func (a *app) keepRoom(c *worker.Conn) {
	if a.limited() {
		c.Join(a.channel(""))
	} else {
		a.giveRoom(c)
	}
}

// giveRoom gives the place back.
func (a *app) giveRoom(c *worker.Conn) { c.Leave(a.channel("")) }
