package tls

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serverConfig is a config with a certificate and ticket keys.
func serverConfig(t testing.TB) *tls.Config {
	cert, err := throwaway()
	check(t, err)
	c := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	c.SetSessionTicketKeys([][32]byte{{1}})
	return c
}

// buffered is one direction of a wire that takes all that is written at once.
type buffered struct {
	mu   sync.Mutex
	cond sync.Cond
	b    []byte
	shut bool
}

func (w *buffered) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return 0, io.ErrClosedPipe
	}
	w.b = append(w.b, p...)
	w.cond.Signal()
	return len(p), nil
}

func (w *buffered) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.b) == 0 && !w.shut {
		w.cond.Wait()
	}
	if len(w.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.b)
	w.b = w.b[n:]
	return n, nil
}

// end is one end of a wire, a net.Conn.
type end struct {
	net.Conn
	in, out *buffered
}

func (e end) Read(p []byte) (int, error)  { return e.in.Read(p) }
func (e end) Write(p []byte) (int, error) { return e.out.Write(p) }

func (e end) Close() error {
	for _, w := range []*buffered{e.in, e.out} {
		w.mu.Lock()
		w.shut = true
		w.cond.Signal()
		w.mu.Unlock()
	}
	return nil
}

// finish ends what this end sends.
func (e end) finish() {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	e.out.shut = true
	e.out.cond.Signal()
}

func wire(t testing.TB) (a, b end) {
	x, y := &buffered{}, &buffered{}
	x.cond.L, y.cond.L = &x.mu, &y.mu
	p, q := net.Pipe() // for the methods that nobody calls
	a, b = end{p, x, y}, end{q, y, x}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// connection is crypto/tls on one end and a Session on the other.
type connection struct {
	peer *tls.Conn
	ours pipe
	end  end // what ours is on
	res  Result
}

// shake connects a client of crypto/tls to a Server.
func shake(t testing.TB, server, client *tls.Config) (*connection, error) {
	a, b := wire(t)
	c := &connection{peer: tls.Client(a, client), ours: pipe{b}, end: b}
	done := make(chan error, 1)
	go func() { done <- c.peer.Handshake() }()
	var err error
	if c.res, err = NewServer(server).Handshake(c.ours); err != nil {
		b.Close()
	}
	return c, errors.Join(err, <-done)
}

// asClient connects a server of crypto/tls to a Session in the client's place.
func asClient(t testing.TB, server, client *tls.Config) *connection {
	a, b := wire(t)
	h := &shaking{wire: pipe{b}, index: -1}
	client = client.Clone()
	client.KeyLogWriter = (*keyLog)(h)
	c := &connection{peer: tls.Server(a, server), ours: pipe{b}, end: b}
	done := make(chan error, 1)
	go func() { done <- c.peer.Handshake() }()
	ours := tls.Client(watched{h}, client)
	check(t, ours.Handshake())
	check(t, <-done)
	s, err := h.session(ours.ConnectionState().CipherSuite)
	check(t, err)
	c.res.Session = mirror(s)
	return c
}

// mirror is s as the other end has it.
func mirror(s *Session) *Session {
	m := newSession(int(s.in.suite))
	for _, d := range []struct{ from, to *half }{{&s.in, m.out()}, {s.out(), &m.in}} {
		d.to.seq, d.to.flags = d.from.seq, d.from.flags
		copy(d.to.material(), d.from.material())
	}
	return m
}

// watched is a client's connection: here ServerHello is read, not written.
type watched struct{ *shaking }

func (w watched) Read(p []byte) (int, error) {
	if len(w.record) == 0 {
		rec, err := w.wire.Record()
		if err != nil {
			return 0, err
		}
		if w.record = rec; rec[0] == typeHandshake {
			w.hello(rec[HeaderLen:])
		}
	}
	return w.shaking.Read(p)
}

func (w watched) Write(p []byte) (int, error) { return len(p), w.wire.Send(p) }

// move writes s down and reads it as another process would, which has no cipher.
func move(t testing.TB, s *Session, r *Ring) *Session {
	t.Helper()
	b := s.Append(nil)
	s.Drop(r)
	*r = Ring{}
	s, err := Restore(b)
	check(t, err)
	if again := s.Append(nil); !bytes.Equal(again, b) {
		t.Fatalf("%x\nreads as\n%x", b, again)
	}
	return s
}

// two is a Session of a suite and its mirror image, as the client has it.
func two(id uint16) (s, client *Session) {
	i := uint8(indexOf(id))
	k := &suites[i]
	x, y := make([]byte, 60), make([]byte, 60)
	_, _ = rand.Read(x)
	_, _ = rand.Read(y)
	s, client = newSession(int(i)), newSession(int(i))
	for _, d := range []struct {
		a, b *half
		key  []byte
	}{{&s.in, client.out(), x}, {s.out(), &client.in, y}} {
		if k.tls12 {
			d.a.adopt12(d.key[:k.keyLen], d.key[48:48+k.ivLen()])
			d.b.adopt12(d.key[:k.keyLen], d.key[48:48+k.ivLen()])
		} else {
			d.a.adopt13(nil, d.key[:k.hashLen])
			d.b.adopt13(nil, d.key[:k.hashLen])
		}
	}
	return s, client
}
