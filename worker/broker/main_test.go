package broker

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/pushd/pushd/worker"
	"go.uber.org/goleak"
)

// childEnv makes the test binary a broker process: it serves the unix listener
// at descriptor 3 until it is killed.
const childEnv = "PUSHD_TEST_BROKER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if err := serveInherited(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // gnet starts some when it is imported
}

func serveInherited() error {
	ln, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	s, err := NewServer(ServerOptions{})
	if err != nil {
		return err
	}
	return s.Serve(ln)
}

// bus is a broker that can be killed, stopped and started again, while its
// listening socket stays, as under the master.
type bus struct {
	t    testing.TB
	path string
	file *os.File // the listening socket
	srv  *Server
	done chan error // of Serve
	proc *exec.Cmd  // instead of srv
}

// newBus opens the socket; nobody serves it yet.
func newBus(t testing.TB) *bus {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // short: a unix path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	t.Cleanup(func() { file.Close() })
	return &bus{t: t, path: path, file: file}
}

// serve starts a server in this process; change may touch it before clients do.
func (b *bus) serve(change ...func(*Server)) {
	b.t.Helper()
	ln, err := net.FileListener(b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	srv, err := NewServer(ServerOptions{Logger: quiet()})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range change {
		f(srv)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	b.srv, b.done = srv, done
	b.t.Cleanup(func() { srv.Close() })
}

func (b *bus) kill() {
	b.t.Helper()
	b.srv.Close()
	if err := <-b.done; err != nil {
		b.t.Errorf("Serve: %v", err)
	}
}

// spawn starts a server in a process of its own.
func (b *bus) spawn() {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.ExtraFiles = []*os.File{b.file}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.proc = cmd
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

func (b *bus) signal(sig syscall.Signal) {
	b.t.Helper()
	if err := b.proc.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
}

// client starts a client of b; in may be nil.
func (b *bus) client(id string, in worker.Inbox, change ...func(*Options)) *Client {
	b.t.Helper()
	o := Options{ID: id, Path: b.path, Logger: quiet()}
	for _, f := range change {
		f(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := c.Start(in); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// inbox remembers what it is given.
type inbox struct {
	mu      sync.Mutex
	got     []worker.Publication
	gaps    map[source]uint64
	queries []worker.BusQuery
	onQuery func(worker.BusQuery)
	gate    sync.Mutex // hold it to block Deliver
}

func (in *inbox) Deliver(batch []worker.Publication) {
	in.gate.Lock()
	//lint:ignore SA2001 passing the gate is all
	in.gate.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got = append(in.got, batch...)
}

func (in *inbox) Query(q worker.BusQuery) {
	in.mu.Lock()
	in.queries = append(in.queries, q)
	f := in.onQuery
	in.mu.Unlock()
	if f != nil {
		f(q)
	}
}

func (in *inbox) Gap(publisher uint64, shard uint8, missing uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.gaps == nil {
		in.gaps = map[source]uint64{}
	}
	in.gaps[source{publisher, shard}] += missing
}

func (in *inbox) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.got)
}

// heard reports whether that publisher's text has come.
func (in *inbox) heard(publisher uint64, text string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.ContainsFunc(in.got, func(p worker.Publication) bool { return p.Publisher == publisher && string(p.Data) == text })
}

func (in *inbox) missing() (n uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, m := range in.gaps {
		n += m
	}
	return n
}

func (in *inbox) texts() (texts []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, p := range in.got {
		texts = append(texts, string(p.Data))
	}
	return texts
}

func message(channel, data string) *worker.Publication {
	return &worker.Publication{Kind: worker.KindMessage, Scope: worker.ScopeChannel, Target: channel, Data: []byte(data)}
}
