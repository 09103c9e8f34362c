package keeper

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// messagesIn undoes worker.AppendMessage.
func messagesIn(data []byte) (list [][]byte) {
	for len(data) > 0 {
		n, w := binary.Uvarint(data)
		list = append(list, data[w:w+int(n)])
		data = data[w+int(n):]
	}
	return list
}

// act lets a random client do something.
func (s *sim) act() {
	channel := fmt.Sprintf("a:presence-%d", s.rng.Intn(3))
	if len(s.conns) == 0 || s.rng.Intn(4) == 0 {
		p := s.procs[s.rng.Intn(len(s.procs))]
		if p.retiring {
			return // it accepts nobody
		}
		s.connect(p, fmt.Sprintf("u%d", s.rng.Intn(6))).subscribe(channel)
		return
	}
	c := s.conns[s.rng.Intn(len(s.conns))]
	switch {
	case c.proc == nil:
	case s.rng.Intn(5) == 0:
		c.close()
	case s.rng.Intn(2) == 0:
		c.unsubscribe(channel)
	default:
		c.subscribe(channel)
	}
}

// busy lets n things happen, with pauses of up to pause in between.
func (s *sim) busy(n int, pause time.Duration) {
	for range n {
		s.act()
		for range s.rng.Intn(4) {
			s.step()
		}
		if s.rng.Intn(3) == 0 {
			s.run(time.Duration(s.rng.Int63n(int64(pause))))
		}
	}
}

// calm lets everything come to its end.
func (s *sim) calm() {
	s.run(12 * time.Second)
	s.check()
}

// TestModel: random joins, departures, reloads and killed processes; every
// client sees every change once, and in the end what is true.
func TestModel(t *testing.T) {
	for seed := range int64(150) {
		s := newSim(t, seed)
		for slot := range 3 {
			s.start(slot, 1)
		}
		for range 12 {
			s.busy(20, 100*time.Millisecond)
			p := s.procs[s.rng.Intn(len(s.procs))]
			switch s.rng.Intn(4) {
			case 0:
				s.run(time.Second) // a reload takes as long, and the old process says hello
				s.reload(p, func() { s.busy(1, 20*time.Millisecond) })
			case 1:
				if !s.keeper.settled {
					break // what a killed process knew alone is lost with it
				}
				s.kill(p)
				if s.rng.Intn(2) == 0 {
					s.start(p.slot, p.gen) // under the same name
				} else {
					s.start(p.slot, p.gen+1)
				}
			case 2:
				s.calm() // what is under way when a keeper dies may be told twice
				s.killKeeper()
				s.run(time.Duration(s.rng.Intn(2000)) * time.Millisecond)
				s.startKeeper()
			case 3:
				s.calm()
			}
		}
		s.calm()
	}
}

// TestModelWithLoss: words are lost and keepers die in the middle of things.
// What is told twice then does no harm: in the end all see what is true.
func TestModelWithLoss(t *testing.T) {
	for seed := range int64(150) {
		s := newSim(t, seed)
		s.strict = false
		s.loss = 0.1
		for slot := range 3 {
			s.start(slot, 1)
		}
		for range 12 {
			s.busy(20, 100*time.Millisecond)
			switch s.rng.Intn(3) {
			case 0:
				s.killKeeper()
				s.busy(5, 400*time.Millisecond)
				s.startKeeper()
			case 1:
				s.run(5 * time.Second) // a reload needs a broker
				s.reload(s.procs[s.rng.Intn(len(s.procs))], func() {})
			case 2:
				s.calm()
			}
		}
		s.loss = 0
		s.calm()
	}
}
