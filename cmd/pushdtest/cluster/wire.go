package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Wires are a network of machines on this one: each has a network namespace of its own and
// a cable to a switch, which is one too. What is sent into a cable that is out vanishes, as
// it does in a cable: nobody is told. All goes with the test, as nothing has a name.
//
// Tests reach a machine by way of listeners at their own loopback, on the same ports.
type Wires struct {
	t        testing.TB
	hub      *space
	machines []*space
}

// space is a network namespace.
type space struct {
	file *os.File
	addr string // on the cable
}

// NewWires lays n cables, or says why it cannot: that takes root.
func NewWires(t testing.TB, n int) (*Wires, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, err
	}
	w := &Wires{t: t}
	var err error
	if w.hub, err = w.space(""); err == nil {
		err = w.hub.ip("link add switch type bridge", "link set switch up")
	}
	for i := 1; err == nil && i <= n; i++ {
		var m *space
		if m, err = w.space(fmt.Sprintf("10.88.0.%d", i)); err != nil {
			break
		}
		w.machines = append(w.machines, m)
		err = errors.Join(
			w.hub.ip(fmt.Sprintf("link add m%d type veth peer name cable netns %s", i, m.path()), fmt.Sprintf("link set m%d master switch up", i)),
			m.ip("link set lo up", "addr add "+m.addr+"/24 dev cable", "link set cable up"))
	}
	return w, err
}

// space makes a namespace. The thread that has made it ends with it.
func (w *Wires) space(addr string) (*space, error) {
	made := make(chan error, 1)
	s := &space{addr: addr}
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			s.file, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
	}()
	err := <-made
	if err == nil {
		w.t.Cleanup(func() { s.file.Close() })
	}
	return s, err
}

// path names it for other processes while this one lives.
func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd()) }

// in runs fn in the namespace: sockets that it opens and processes that it starts belong
// there. The namespace nil is that of the test.
func (s *space) in(fn func() error) error {
	if s == nil {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// ip runs commands of ip(8) there.
func (s *space) ip(commands ...string) error {
	return s.in(func() error {
		for _, c := range commands {
			if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", c, err, out)
			}
		}
		return nil
	})
}

func (s *space) dial(addr string) (conn net.Conn, err error) {
	err = s.in(func() error { conn, err = net.Dial("tcp", addr); return err })
	return conn, err
}

// must fails the test.
func (w *Wires) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Pull takes the cable of machine i, from 0, out.
func (w *Wires) Pull(i int) { w.t.Helper(); w.must(w.hub.ip(fmt.Sprintf("link set m%d down", i+1))) }

// Plug puts it in again.
func (w *Wires) Plug(i int) { w.t.Helper(); w.must(w.hub.ip(fmt.Sprintf("link set m%d up", i+1))) }

// Deafen has all that machine i sends to machine j vanish, and not the other way.
func (w *Wires) Deafen(i, j int) {
	w.t.Helper()
	w.must(w.machines[i].ip("neigh replace " + w.machines[j].addr + " lladdr 02:00:00:00:00:01 dev cable nud permanent"))
}

// Undeafen ends Deafen.
func (w *Wires) Undeafen(i, j int) {
	w.t.Helper()
	w.must(w.machines[i].ip("neigh del " + w.machines[j].addr + " dev cable"))
}

// Spoil has machine i lose and delay some of what comes to it; false: this kernel cannot.
func (w *Wires) Spoil(i int) bool {
	return w.hub.in(func() error {
		return exec.Command("tc", "qdisc", "add", "dev", fmt.Sprint("m", i+1), "root", "netem", "loss", "5%", "delay", "20ms", "10ms").Run()
	}) == nil
}

// Unspoil ends Spoil.
func (w *Wires) Unspoil(i int) {
	w.t.Helper()
	w.must(w.hub.in(func() error { return exec.Command("tc", "qdisc", "del", "dev", fmt.Sprint("m", i+1), "root").Run() }))
}
