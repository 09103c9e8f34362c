package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/nodes"
)

// diary is a service that notes what happens to it. It lives in the test that
// has set it.
type diary struct {
	env    *worker.ServiceEnv
	notes  chan string
	refuse error
	state  string
	peers  atomic.Pointer[[]nodes.Node]
}

var theDiary *diary

func init() {
	worker.RegisterService("diary", func() worker.Service { return theDiary })
}

func (d *diary) Start(env *worker.ServiceEnv) error {
	if d.env != nil {
		return errors.New("started twice")
	}
	d.env = env
	return d.refuse
}

func (d *diary) Tell(from string, data []byte) {
	switch {
	case string(data) == "panic":
		panic("told to")
	case string(data) == "after":
		d.env.After(time.Millisecond, func() { d.notes <- "later" })
	case strings.HasPrefix(string(data), "publish "):
		_ = d.env.Publish(*message("room", string(data[8:])), *message("room", "and again"))
	}
	d.notes <- from + ": " + string(data)
}

func (d *diary) Ask(from string, data []byte, answer func([]byte, error)) {
	switch string(data) {
	case "silence":
	case "fail":
		answer(nil, errors.New("no such page"))
	case "away":
		answer(nil, fmt.Errorf("%w: said a test", worker.ErrUnavailable))
	default:
		answer(json.Marshal(from + " asks " + string(data)))
	}
}

func (d *diary) Roster(workers []string)          { d.notes <- fmt.Sprint(workers) }
func (d *diary) Nodes(others []nodes.Node)        { d.peers.Store(&others) }
func (d *diary) Peer(node string, data []byte)    { d.notes <- "peer " + node + ": " + string(data) }
func (d *diary) Rejoined(time.Duration)           { d.notes <- "the bus is back" }
func (d *diary) State() string                    { return d.state }
func (d *diary) Stop()                            { close(d.notes) }
func (d *diary) Metrics(emit func(worker.Metric)) { emit(worker.Metric{Name: "notes", Number: 7}) }
func (d *diary) Absent(emit func(worker.Metric))  { emit(worker.Metric{Name: "closed", Number: 1}) }

// host starts a host with a diary on a bus of its own.
func host(t *testing.T) (*bus, *Host, *diary) {
	t.Helper()
	b := newBus(t)
	b.serve()
	d := &diary{notes: make(chan string, 4096)}
	theDiary = d
	h, err := StartHost(HostOptions{Client: b.client("api", nil), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return b, h, d
}

func (d *diary) want(t *testing.T, note string) {
	t.Helper()
	select {
	case got := <-d.notes:
		if got != note {
			t.Fatalf("the diary has %q, want %q", got, note)
		}
	case <-time.After(time.Minute):
		t.Fatalf("the diary never has %q", note)
	}
}

func TestServiceIsToldInOrder(t *testing.T) {
	b, h, d := host(t)
	var in inbox
	c := b.client("push/0/1", &in)
	const n = 1000
	for i := range n {
		if err := c.Tell("diary", "push/0/1", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		d.want(t, fmt.Sprintf("push/0/1: %d", i))
	}
	for _, word := range []string{"panic", "publish x", "after"} {
		if err := c.Tell("diary", "push/0/1", []byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	d.want(t, "push/0/1: publish x") // the panic left no note
	d.want(t, "push/0/1: after")
	d.want(t, "later")
	testkit.Eventually(t, "the publications", func() bool { return in.count() == 2 })
	if got := strings.Join(in.texts(), ","); got != "x,and again" {
		t.Errorf("published %q", got)
	}
	if m := h.Metrics(); len(m) != 3 || m[0].Number != 1 || m[1].Number != 0 || m[2].Name != "notes" || m[2].Number != 7 {
		t.Errorf("metrics %+v", m)
	}
	h.SetRoster([]string{"push/0/1"})
	d.want(t, "[push/0/1]")
	h.Close()
	if note, open := <-d.notes; open {
		t.Errorf("after Stop: %q", note)
	}
	if m := h.Metrics(); len(m) == 0 {
		t.Error("no metrics after Close")
	}
}

// TestServiceEndsWithWhatItWasTold: what has reached the broker when a service
// is stopped is not lost.
func TestServiceEndsWithWhatItWasTold(t *testing.T) {
	b, h, d := host(t)
	c := b.client("push/0/1", &inbox{})
	const n = 2000
	for i := range n {
		if err := c.Tell("diary", "w", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	c.Close() // sends them
	h.Close()
	told := 0
	for note := range d.notes {
		if note != fmt.Sprint("w: ", told) {
			t.Fatalf("%q is note %d", note, told)
		}
		told++
	}
	if told != n {
		t.Errorf("%d of %d words", told, n)
	}
}

func TestServiceThatCannotStart(t *testing.T) {
	b := newBus(t)
	b.serve()
	theDiary = &diary{refuse: errors.New("no paper")}
	if _, err := StartHost(HostOptions{Client: b.client("api", nil), Logger: quiet()}); err == nil ||
		!strings.Contains(err.Error(), `"diary": no paper`) {
		t.Errorf("%v", err)
	}
}

func TestServiceAnswers(t *testing.T) {
	b, _, _ := host(t)
	c := b.client("push/0/1", &inbox{})
	for _, q := range []struct{ word, want string }{
		{"page 1", `"push/0/1 asks page 1"`},
		{"fail", "no such page"},
		{"away", "true the shared history is not available: said a test"},
		{"silence", worker.ErrNoAnswer.Error()},
	} {
		got := make(chan string, 1)
		wait := time.Minute
		if q.word == "silence" {
			wait = 10 * time.Millisecond
		}
		err := c.AskService("diary", "push/0/1", []byte(q.word), wait, func(a worker.Answer, err error) {
			if err != nil {
				got <- err.Error()
			} else if err = a.Err(); errors.Is(err, worker.ErrUnavailable) {
				got <- fmt.Sprint(true, " ", err)
			} else {
				got <- string(a.Data) + a.Error
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if answer := <-got; answer != q.want {
			t.Errorf("%s: %s", q.word, answer)
		}
	}
	if err := c.Tell("diary", "x", make([]byte, MaxEnvelope+1)); !errors.Is(err, worker.ErrTooLarge) {
		t.Errorf("a huge word: %v", err)
	}
	got := make(chan error, 1)
	if err := c.AskService("diary", "x", []byte("silence"), time.Hour, func(_ worker.Answer, err error) { got <- err }); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-got; !errors.Is(err, worker.ErrBrokerAway) {
		t.Errorf("a client that is closed: %v", err)
	}
}

func TestGatherKnowsWhoMustAnswer(t *testing.T) {
	b, h, _ := host(t)
	var clients []*Client
	for i := range 3 {
		id := fmt.Sprintf("push/%d/1", i)
		in := &inbox{}
		c := b.client(id, in)
		in.onQuery = func(q worker.BusQuery) {
			if i < 2 { // the third one stays silent
				c.Answer(q.Reply, worker.Answer{Worker: id, Data: q.Args})
			}
		}
		clients = append(clients, c)
	}
	gather := func(wait time.Duration) (n int, complete bool) {
		done := make(chan struct{})
		err := clients[0].Gather(worker.BusQuery{What: worker.GatherQuery, Args: json.RawMessage(`1`)}, wait, func(a []worker.Answer, ok bool) {
			n, complete = len(a), ok
			close(done)
		})
		if err != nil {
			t.Fatal(err)
		}
		<-done
		return n, complete
	}
	if n, complete := gather(100 * time.Millisecond); complete {
		t.Errorf("complete with %d answers and no roster", n)
	}
	h.SetRoster([]string{"push/0/1", "push/1/1"})
	if n, complete := gather(time.Minute); n != 2 || !complete { // at once
		t.Errorf("%d answers, complete %v", n, complete)
	}
	h.SetRoster([]string{"push/0/1", "push/1/1", "push/2/1"})
	if n, complete := gather(2 * time.Second); n != 2 || complete {
		t.Errorf("with a silent one: %d answers, complete %v", n, complete)
	}
	h.SetRoster(nil)
	if _, complete := gather(time.Minute); !complete {
		t.Error("an empty roster is not complete")
	}
}

// TestStuckServiceHoldsNobodyUp: the roster and scrapes do not wait for a
// service whose mailbox is full; it is told of the latest roster.
func TestStuckServiceHoldsNobodyUp(t *testing.T) {
	_, h, d := host(t)
	gate := make(chan struct{})
	s := h.services[0]
	s.post(func() { <-gate })
	testkit.Eventually(t, "the service is stuck", func() bool { return len(s.mail) == 0 })
	for range cap(s.mail) {
		s.post(func() {})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 3 {
			h.SetRoster([]string{fmt.Sprint("push/0/", i)})
			if m := h.Metrics(); len(m) != 3 || m[2].Name != "closed" {
				t.Errorf("metrics of a stuck service: %+v", m)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("SetRoster and Metrics wait for a stuck service")
	}
	if all := h.States(time.Millisecond); len(all) != 1 || !strings.Contains(all[0].Says, "busy") {
		t.Errorf("a stuck service says %+v", all)
	}
	close(gate)
	<-done
	testkit.Eventually(t, "there is room again", func() bool { return len(s.mail) == 0 })
	for _, d.state = range []string{"", "half of it"} {
		if all := h.States(time.Minute); (len(all) == 1) != (d.state != "") || len(all) == 1 && all[0] != (control.ServiceState{Service: "diary", Says: d.state}) {
			t.Errorf("%q: %+v", d.state, all)
		}
	}
	d.want(t, "[push/0/2]")
	h.SetRoster([]string{"push/0/3"})
	d.want(t, "[push/0/3]")
}
