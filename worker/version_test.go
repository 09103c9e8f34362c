package worker

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/handover"
)

// withToys makes connections that have a toy a kind of a version to come.
func withToys(t *testing.T) {
	before := later
	later = append(later[:len(later):len(later)], recordKind{RecordVersion + 1, func(c *Conn) bool { return c.Get("toy") != "" }})
	t.Cleanup(func() { later = before })
}

// oldReader is a new worker whose program reads records of version 1. It takes
// over what comes and says how many have, when the channel ends.
func oldReader(t *testing.T, k *handover.Courier) <-chan int {
	taken := make(chan int, 1)
	go func() {
		defer k.Close()
		n := 0
		defer func() { taken <- n }()
		_ = k.Send(handover.Hello, []byte{1}, nil)
		for {
			p, err := k.Receive(0)
			if err != nil || p.Kind == handover.End {
				_ = k.Send(handover.Report, []byte("{}"), nil)
				return
			}
			n += len(p.Files)
			p.Drop()
			_ = k.Send(handover.Ack, nil, nil)
			_, _ = k.Expect(handover.Commit, 0)
			_ = k.Send(handover.Landed, nil, nil)
		}
	}()
	return taken
}

// TestRecordVersions: plain connections move to a program of the version before;
// one that has what came later keeps them all where they are, with a number in
// the error, and nothing has happened.
func TestRecordVersions(t *testing.T) {
	w, _ := newEchoer(anyWS)
	reloads := 0
	w.OnWorkerReload = func(*Worker) { reloads++ }
	s := launch(t, w, &testBus{}, nil)
	withToys(t) // before any hand-over; nobody else looks
	clients := echoes(s, 3)
	toy := func(value string) {
		s.on(func() { must(t, w.loop.conns.all[1].Set("toy", value)) })
	}
	hand := func() (control.Exported, int) {
		ours, theirs := socketpair(t)
		k, err := handover.New(theirs)
		must(t, err)
		theirs.Close()
		taken := oldReader(t, k)
		report := s.export(ours)
		return report, <-taken
	}

	toy("ball")
	var answer control.Records
	s.query(control.QueryRecords, control.Records{Version: 1}, &answer)
	if answer.Unreadable != 1 || answer.Connections != 3 {
		t.Errorf("%+v", answer)
	}
	answer = control.Records{}
	s.query(control.QueryRecords, control.Records{Version: RecordVersion + 1}, &answer)
	if answer.Unreadable != 0 {
		t.Errorf("%+v", answer)
	}
	report, taken := hand()
	if report.Step != "hello" || !strings.Contains(report.Error, "up to version 1, and 1 of 3 connections need a later one") || taken != 0 {
		t.Fatalf("%+v, %d moved", report, taken)
	}
	s.on(func() {
		if w.loop.phase.moving() || reloads > 0 {
			t.Error("the hand-over had begun")
		}
	})
	for _, c := range append(clients, connect(t, s.addrs[0], "/")) {
		c.text("here")
		c.want("here")
	}
	must(t, s.master.Send(control.TypeResume, 3, nil))
	if m := s.receive(); m.ID != 3 {
		t.Fatalf("%+v", m)
	}

	toy("")
	if report, taken := hand(); report.Error != "" || report.Moved != 4 || taken != 4 {
		t.Fatalf("%+v, %d moved", report, taken)
	}
}

// TestToyAmongTheLast: a connection that gets something later than the reader
// knows after the hello stays, and is told to come back.
func TestToyAmongTheLast(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	withToys(t)
	clients := echoes(s, 2)
	x := newExport(w.loop, nil)
	x.reads = 1
	s.on(func() {
		must(t, w.loop.conns.all[0].Set("toy", "ball"))
		x.begin()
		x.freeze(handover.BatchConns)
		if len(x.held) != 1 || x.out.Drained != 1 || x.held[0].Get("toy") != "" {
			t.Errorf("%d move, %d are told to come back", len(x.held), x.out.Drained)
		}
		x.resume()
	})
	clients[0].wantClose(1012)
	clients[1].text("here")
	clients[1].want("here")
}

// TestHelloOfOneByte: the version before these refuses any other length.
func TestHelloOfOneByte(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	for _, hello := range [][]byte{nil, {0}, {1, 1}} {
		ours, theirs := socketpair(t)
		k, err := handover.New(theirs)
		must(t, err)
		theirs.Close()
		must(t, k.Send(handover.Hello, hello, nil))
		if report := s.export(ours); report.Step != "hello" {
			t.Errorf("%v: %+v", hello, report)
		}
		k.Close()
		must(t, s.master.Send(control.TypeResume, 3, nil))
		s.receive()
	}
	ours, theirs := socketpair(t)
	must(t, s.master.Send(control.TypeImport, 4, nil, theirs))
	theirs.Close()
	s.receive()
	k, err := handover.New(ours)
	must(t, err)
	ours.Close()
	p, err := k.Receive(handover.Turns)
	if err != nil || p.Kind != handover.Hello || len(p.Body) != 1 || p.Body[0] != RecordVersion {
		t.Errorf("%q %v %v", p.Kind, p.Body, err)
	}
	k.Close()
}
