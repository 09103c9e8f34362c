//go:build linux

package master

import (
	"strings"
	"testing"
)

// A reload to a program that cannot read what is connected is refused, with the
// number, before anything is touched.
func TestReloadToAnOlderReader(t *testing.T) {
	r := newRig(t, 2)
	r.behave("worker.0", "newer")
	r.behave("worker.1", "newer")
	i := r.start()
	before := i.status()
	peers := []*peer{dialPeer(t, r.addr), dialPeer(t, r.addr), dialPeer(t, r.addr)}
	for _, p := range peers {
		p.ask("who")
	}
	e := i.failedReload()
	if e.Step != stepCheck || !strings.Contains(e.Error(), "up to version 1, and 3 of 3 connections need a later one") || e.Lost != 0 {
		t.Errorf("%+v: %v", *e, e)
	}
	for n, w := range i.status().Workers {
		if w.PID != before.Workers[n].PID {
			t.Errorf("slot %d was replaced", n)
		}
	}
	if got := r.read("import") + r.read("export"); got != "" {
		t.Errorf("a hand-over began: %s", got)
	}
	for _, p := range peers {
		p.ask("who")
	}
	r.plan.Record = 2
	r.savePlan()
	i.reload()
	i.stop()
}
