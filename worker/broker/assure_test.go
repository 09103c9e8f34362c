package broker

import (
	"errors"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker"
)

// TestAssure: what is said to be with the server of a cluster comes, whatever becomes of
// the connection meanwhile; what may be lost is never said to be.
func TestAssure(t *testing.T) {
	server := serverAt(t, "127.0.0.1:-1", "")
	way := newCable(t)
	way.lead(server.Addr().String())
	way.set(false)
	var in, other inbox
	at(t, "nats://"+server.Addr().String(), "n/push/1/1", &other)
	c := at(t, "nats://"+way.addr, "n/push/0/1", &in)
	publish := func(text string) error { return c.Publish(message("room", text)) }
	again := func() { // a connection anew, without anybody being told
		before := c.link.current()
		if err := c.link.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "connected anew", func() bool { return c.link.current() != before && c.link.nc.IsConnected() })
	}
	sent := func() { testkit.Eventually(t, "all is sent", c.queue.empty) }
	for name, test := range map[string]struct {
		send         func(name string) error
		after        func() // when it is told
		unsure, lost bool   // must be, may be
	}{
		"the server has it": {send: publish},
		"several": {send: func(name string) error {
			return errors.Join(c.Tell("nobody", "x", nil), publish("first of "+name), publish(name))
		}},
		"the server is silent": {send: func(name string) error {
			way.slow.Lock()
			return publish(name)
		}, after: way.slow.Unlock, unsure: true, lost: true},
		"the connection is another one before the last": {send: func(name string) error {
			err := publish("first of " + name)
			sent()
			again()
			return errors.Join(err, publish(name))
		}, unsure: true},
		"the server is away": {send: func(name string) error {
			way.set(true)
			return publish(name)
		}, after: func() { way.set(false) }, unsure: true, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Eventually(t, "the server answers", func() bool { return c.link.answers() == nil })
			told := make(chan error, 2)
			testkit.Eventually(t, "it is taken", func() bool {
				sure, err := c.Assure(func() error { return test.send(name) }, func(err error) { told <- err })
				if sure {
					t.Error("sure without asking")
				}
				return err == nil
			})
			err := <-told
			if test.after != nil {
				test.after()
			}
			if test.unsure != (err != nil) || err != nil && !errors.Is(err, worker.ErrUnsure) {
				t.Errorf("told %v", err)
			}
			if !test.lost {
				testkit.Eventually(t, "it comes", func() bool { return other.heard(c.id, name) })
			}
		})
	}
	refusal := errors.New("no")
	testkit.Eventually(t, "the error of send", func() bool { // the connection may still be away
		_, err := c.Assure(func() error { return refusal }, func(error) { t.Error("told of what was not sent") })
		return err == refusal
	})
	c.link.pulse.mu.Lock()
	defer c.link.pulse.mu.Unlock()
	if len(c.link.pulse.waiting) > 0 {
		t.Error("somebody still waits")
	}
}

// TestAssureOnItsOwn: the bus of one machine is not asked.
func TestAssureOnItsOwn(t *testing.T) {
	b := newBus(t)
	b.serve()
	var in inbox
	c := b.client("push/0/1", &in)
	sure, err := c.Assure(func() error { return c.Publish(message("room", "x")) }, func(error) { t.Error("told twice") })
	if !sure || err != nil {
		t.Errorf("sure %v, %v", sure, err)
	}
	testkit.Eventually(t, "it comes", func() bool { return in.heard(c.id, "x") })
}
