//go:build linux

package master

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// TestBusyIsNotLate: a child that says again and again that it gets on may take as
// long as it needs to be ready; one that has stopped saying so may not.
func TestBusyIsNotLate(t *testing.T) {
	for name, ready := range map[string]bool{"gets on": true, "hangs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &process{verdict: make(chan error, 1), busy: make(chan struct{}, 1), gone: make(chan struct{})}
				go func() {
					for range 20 {
						time.Sleep(7 * time.Second)
						p.receive(control.Message{Type: control.TypeBusy})
					}
					if ready {
						p.receive(control.Message{Type: control.TypeReady})
					}
				}()
				began := time.Now()
				err := p.waitReady(context.Background(), 8*time.Second)
				if ready && err != nil {
					t.Errorf("%v after %s", err, time.Since(began))
				}
				if !ready && (err == nil || !strings.Contains(err.Error(), "not ready within 8s") || time.Since(began) != 148*time.Second) {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		})
	}
}

// TestBusyWhileItLeaves: one that writes what it leaves is not killed, however long that
// takes; one that says nothing is, soon.
func TestBusyWhileItLeaves(t *testing.T) {
	for name, leaves := range map[string]bool{"writes": true, "hangs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &process{busy: make(chan struct{}, 1), gone: make(chan struct{})}
				go func() {
					for range 20 {
						time.Sleep(4 * time.Second)
						p.receive(control.Message{Type: control.TypeBusy})
					}
					if leaves {
						close(p.gone)
					}
				}()
				began := time.Now()
				if left := p.waitLeft(context.Background(), defaultTiming.silence); left != leaves {
					t.Errorf("it has left: %v", left)
				}
				want := 80 * time.Second
				if !leaves {
					want += defaultTiming.silence
				}
				if took := time.Since(began); took != want {
					t.Errorf("after %s, want %s", took, want)
				}
			})
		})
	}
}

// TestBusyWhileOpening: so may one that opens, which has a large history to read.
func TestBusyWhileOpening(t *testing.T) {
	for name, opens := range map[string]bool{"gets on": true, "hangs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMaster(Options{}, defaultTiming)
				p := &process{unit: &unit{role: control.RoleBroker, name: "broker"}, slot: &slot{}, busy: make(chan struct{}, 1), gone: make(chan struct{}),
					out: make(chan outgoing, 1), asked: map[uint64]chan control.Message{}}
				go func() {
					asked := <-p.out
					for range 20 {
						time.Sleep(7 * time.Second)
						p.receive(control.Message{Type: control.TypeBusy})
					}
					if opens {
						p.receive(control.Message{Type: control.TypeAnswer, ID: asked.msg.ID})
					}
				}()
				began := time.Now()
				err := m.open(t.Context(), p)
				if opens && err != nil {
					t.Errorf("%v after %s", err, time.Since(began))
				}
				if !opens && (err == nil || !strings.Contains(err.Error(), "nor said anything, for 18s") || time.Since(began) != 158*time.Second) {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		})
	}
}
