package keeper

import (
	"bytes"
	"testing"
	"time"

	"github.com/pushd/pushd/worker"
)

// told counts the events that members of channels are told of from now on.
func (s *sim) told() *int {
	n := 0
	publish := s.keeper.env.Publish
	s.keeper.env.Publish = func(ps ...worker.Publication) error {
		for _, p := range ps {
			if p.Kind == worker.KindMessages {
				n += len(messagesIn(p.Data))
			}
		}
		return publish(ps...)
	}
	return &n
}

// TestComingAndGoing: whoever comes and goes without end costs the others one
// event in each pause.
func TestComingAndGoing(t *testing.T) {
	s := newSim(t, 1)
	p, q := s.start(0, 1), s.start(1, 1)
	s.connect(q, "w").subscribe("a:presence-x")
	s.run(time.Second)
	c, told := s.connect(p, "u"), s.told()
	for range 200 { // in 100 ms
		c.subscribe("a:presence-x")
		s.run(250 * time.Microsecond)
		c.unsubscribe("a:presence-x")
		s.run(250 * time.Microsecond)
	}
	c.subscribe("a:presence-x")
	s.calm()
	if *told > 10 {
		t.Errorf("told of %d events", *told)
	}
}

// TestStopTellsWhatIsDue: a departure that waits for the pause of its room is
// told before the service ends, and not confirmed before.
func TestStopTellsWhatIsDue(t *testing.T) {
	for _, stop := range []bool{true, false} {
		s := newSim(t, 1)
		p := s.start(0, 1)
		c, witness := s.connect(p, "u"), s.connect(p, "w")
		c.subscribe("a:presence-x")
		witness.subscribe("a:presence-x")
		s.calm()
		c.unsubscribe("a:presence-x")
		s.run(time.Millisecond)
		c.subscribe("a:presence-x") // its room has been flushed a moment ago
		s.run(30 * time.Millisecond)
		c.unsubscribe("a:presence-x")
		s.run(time.Millisecond)
		p.client.hello()
		s.run(time.Millisecond)
		if s.keeper.due != 1 || len(p.client.left) == 0 {
			t.Fatalf("%d rooms are due, %d departures wait", s.keeper.due, len(p.client.left))
		}
		if stop {
			s.stream = nil
			s.keeper.Stop()
			if len(s.stream) != 1 || !bytes.Contains(s.stream[0].Data, []byte("member_removed")) {
				t.Errorf("told %v", s.stream)
			}
			continue
		}
		s.run(time.Second)
		if len(p.client.left) != 0 {
			t.Error("the departure is not confirmed")
		}
		s.calm()
	}
}

// TestBackWhileThereWasNoKeeper: who has left and come back by one connection is
// no news to the others.
func TestBackWhileThereWasNoKeeper(t *testing.T) {
	s := newSim(t, 1)
	p, q := s.start(0, 1), s.start(1, 1)
	s.connect(q, "w").subscribe("a:presence-x")
	c := s.connect(p, "u")
	c.subscribe("a:presence-x")
	s.calm()
	s.killKeeper()
	c.unsubscribe("a:presence-x")
	s.run(10 * time.Millisecond)
	c.subscribe("a:presence-x")
	s.run(10 * time.Millisecond)
	s.startKeeper()
	s.calm()
}

// TestPartingIsQuiet: when all clients are being closed, those who are still there
// do not see the others vanish one by one.
func TestPartingIsQuiet(t *testing.T) {
	s := newSim(t, 1)
	p, q := s.start(0, 1), s.start(1, 1)
	s.connect(q, "w").subscribe("a:presence-x")
	gone := []*conn{s.connect(p, "u1"), s.connect(p, "u2")}
	for _, c := range gone {
		c.subscribe("a:presence-x")
	}
	s.run(time.Second)
	told := s.told()
	s.keeper.Parting()
	for _, c := range gone {
		c.close()
	}
	s.run(time.Second)
	if *told != 0 {
		t.Errorf("told of %d events", *told)
	}
	if n := s.counts(q, "a:presence-x"); n[0] != 1 {
		t.Errorf("%v users", n)
	}
}
