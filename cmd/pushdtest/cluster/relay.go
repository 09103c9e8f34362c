package cluster

import (
	"net"
	"sync"
	"testing"
)

// Relay stands between clients and a server. While it is silent nothing comes
// through and nothing ends, as when a cable is out: what is sent waits, and
// arrives late.
type Relay struct {
	Addr string

	target string
	dial   func(addr string) (net.Conn, error)
	ln     net.Listener
	mu     sync.Mutex
	heard  *sync.Cond // silent or over has changed
	silent bool
	over   bool
	conns  map[net.Conn]bool
	done   sync.WaitGroup
}

// StartRelay serves until the test ends.
func StartRelay(t testing.TB, target string) *Relay {
	t.Helper()
	return startRelay(t, "127.0.0.1:0", target, func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) })
}

func startRelay(t testing.TB, listen, target string, dial func(addr string) (net.Conn, error)) *Relay {
	t.Helper()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: ln.Addr().String(), target: target, dial: dial, ln: ln, conns: map[net.Conn]bool{}}
	r.heard = sync.NewCond(&r.mu)
	r.done.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

// Silence lets nothing through until Heal.
func (r *Relay) Silence() { r.set(true) }

// Heal lets everything through again, what waits first.
func (r *Relay) Heal() { r.set(false) }

func (r *Relay) set(silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent = silent
	r.heard.Broadcast()
}

func (r *Relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		if r.keep(c) {
			r.done.Go(func() { r.serve(c) })
		}
	}
}

// keep notes a connection; false means that the relay is over.
func (r *Relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *Relay) drop(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *Relay) serve(client net.Conn) {
	defer r.drop(client)
	if !r.pass() {
		return
	}
	server, err := r.dial(r.target)
	if err != nil || !r.keep(server) {
		return
	}
	defer r.drop(server)
	var both sync.WaitGroup
	both.Go(func() { r.copy(server, client) })
	both.Go(func() { r.copy(client, server) })
	both.Wait()
}

// copy ends both connections with the first of them.
func (r *Relay) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !r.pass() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while it is silent; false means that the relay is over.
func (r *Relay) pass() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.silent && !r.over {
		r.heard.Wait()
	}
	return !r.over
}

func (r *Relay) close() {
	r.mu.Lock()
	r.over = true
	for c := range r.conns {
		c.Close()
	}
	r.heard.Broadcast()
	r.mu.Unlock()
	r.ln.Close()
	r.done.Wait()
}
