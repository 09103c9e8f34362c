package broker

import (
	"fmt"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// TestBarrier: when it is passed, all that was published before has reached the
// broker; one for arrivals, all that had reached it has been delivered here. No
// other client hears of it.
func TestBarrier(t *testing.T) {
	const each = 5000
	b := newBus(t)
	b.serve()
	var in, other inbox
	c := b.client("push/0/1", &in)
	b.client("push/1/1", &other)
	talker := b.client("push/2/1", nil)
	for i := range each {
		patient(t, talker, message("x", fmt.Sprint(i)))
		patient(t, c, message("x", fmt.Sprint(i)))
	}
	passed := make(chan int, 1)
	pass := func(c *Client, arrived bool, at *inbox) int {
		t.Helper()
		if err := c.Barrier(arrived, func() { passed <- at.count() }); err != nil {
			t.Fatal(err)
		}
		return <-passed
	}
	pass(talker, false, &in) // now all of both
	pass(c, false, &in)
	if n := pass(c, true, &in) + int(in.missing()); n != 2*each {
		t.Errorf("%d of %d have been delivered", n, 2*each)
	}
	testkit.Eventually(t, "the other has all", func() bool { return other.count()+int(other.missing()) == 2*each })
	before := received(t, b)
	for range 10 {
		pass(c, false, &in)
		pass(c, true, &in)
	}
	patient(t, talker, message("x", "last"))
	testkit.Eventually(t, "the last has come", func() bool { return other.count()+int(other.missing()) == 2*each+1 })
	if n := received(t, b) - before; n != 1 {
		t.Errorf("the server got %d messages for 20 barriers and a publication", n)
	}
}

// TestBarrierWithoutBroker: nobody is told that it is passed, and one that is
// asked again when the broker is back is.
func TestBarrierWithoutBroker(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	c := b.client("push/0/1", &in)
	b.kill()
	lost := make(chan bool, 100)
	_ = c.Barrier(true, func() { lost <- true }) // may be refused
	b.serve()
	testkit.Eventually(t, "it is passed", func() bool {
		if err := c.Barrier(true, func() { lost <- true }); err != nil && err != worker.ErrBrokerAway {
			t.Fatal(err)
		}
		return len(lost) > 0
	})
}

// received returns how many messages the server has got from clients.
func received(t *testing.T, b *bus) int64 {
	t.Helper()
	v, err := b.srv.nats.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.InMsgs
}
