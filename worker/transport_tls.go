package worker

import (
	"bytes"
	stdtls "crypto/tls"
	"fmt"
	"io"
	nethttp "net/http"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/tls"
)

// transportTLS: a handshake, behind which a connection speaks what its listener
// says. crypto/tls shakes hands, on a goroutine for as long as that takes; till the
// client's first record is whole there is none.
var transportTLS = &transport{name: "tls"}

func init() {
	*transportTLS = transport{
		name: "tls", number: 3, flags: flagPaused | flagHeader, moves: true,
		open:    func(c *Conn) { c.transport.await(c) },
		await:   func(c *Conn) { c.loop.expect(c, c.loop.w.Limits.HandshakeTimeout) },
		receive: (*Conn).hello, due: (*Conn).dueTLS, check: checkHTTP,
	}
	register(transportTLS)
}

// hello waits for the client's first record. In a hand-over the handshake begins
// where the connection goes.
func (c *Conn) hello(p []byte) []byte {
	if len(p) == 0 {
		return p
	}
	if !tls.Begins(p) {
		c.inTheClear(p)
		return nil
	}
	if n := tls.Need(p); n == 0 || len(p) < min(n, tls.MaxRecord) || c.loop.phase.moving() {
		return p
	}
	if c.port.tls == nil { // the listener is another one since it came
		c.loop.destroy(c, ErrHandshake)
		return nil
	}
	s := &shaking{c: c, config: c.port.tls.Config(), records: make(chan []byte, 1), gone: make(chan struct{})}
	c.set(flagHeld)
	c.extra().held = &held{s}
	c.loop.secure.begin(s)
	return p
}

// inTheClear answers a client that does not begin a TLS handshake.
func (c *Conn) inTheClear(p []byte) {
	l := c.loop
	l.refused("plain", c.peer(), "a client without TLS at a port with TLS: let it use wss:// or https:// "+
		"(forceTLS: true in pusher-js and Echo)")
	if c.port.addr.speaks.requests && 'A' <= p[0] && p[0] <= 'Z' {
		l.reject(c, nethttp.StatusBadRequest, "this port speaks TLS: use wss:// or https://")
		return
	}
	l.destroy(c, ErrHandshake)
}

// dueTLS ends a client that takes too long. One that has sent nothing, as health
// checks do, is no matter.
func (c *Conn) dueTLS() {
	l := c.loop
	if l.unheard(c) {
		return
	}
	switch s := c.shaking(); {
	case s != nil && !s.begun:
		l.refused("tls_full", c.peer(), "limits.tls_handshakes: so many were under way for all of limits.handshake_timeout")
	case s != nil || c.in != nil:
		l.refused("timeout", c.peer(), "limits.handshake_timeout: the TLS handshake took too long")
	}
	l.destroy(c, ErrHandshake)
}

// shaking is a TLS handshake, and what crypto/tls talks through: a tls.Wire. The
// loop gives a record when one is wanted, so that what follows the handshake stays
// with the connection, and what waits is bounded like any input that waits for an
// answer.
type shaking struct {
	c      *Conn
	config *stdtls.Config
	begun  bool          // the rest is the loop's
	wants  bool          // the goroutine waits for a record
	since  time.Duration // when it began to

	records chan []byte   // with room for the one that was wanted
	gone    chan struct{} // closed when the client is
}

// shaking returns the handshake that is under way, nil for none.
func (c *Conn) shaking() *shaking {
	if c.more == nil || c.more.held == nil {
		return nil
	}
	s, _ := c.more.held.answer.(*shaking)
	return s
}

// begin starts a handshake, or lets it wait until one before it is over.
func (x *secure) begin(s *shaking) {
	if most := s.c.loop.w.Limits.TLSHandshakes; most > 0 && x.shakes >= most {
		x.queue = append(x.queue, s)
		return
	}
	x.shakes++
	s.begun = true
	go s.run(s.c.loop)
}

// next starts the handshakes that have waited for a place.
func (x *secure) next(most int) {
	for len(x.queue) > 0 && (most == 0 || x.shakes < most) {
		s := x.queue[0]
		x.queue[0] = nil
		if x.queue = x.queue[1:]; !s.c.has(flagDead | flagEnd) {
			x.begin(s)
		}
	}
	if len(x.queue) == 0 {
		x.queue = nil
	}
}

// shakePatience is how long a client may take to answer while others wait.
const shakePatience = 2 * time.Second

// giveWay ends handshakes that wait for their clients, for those that wait for a
// place: who says nothing gives way. It runs once a second.
func (x *secure) giveWay(l *loop) {
	for i, n := 0, len(x.queue); n > 0 && i < l.conns.len(); i++ {
		c := l.conns.all[i]
		if s := c.shaking(); s != nil && s.wants && l.now-s.since > shakePatience && !c.has(flagDead) && !c.spoke() {
			l.refused("timeout", c.peer(), "limits.tls_handshakes: others wait, and the client has not answered in 2 s")
			l.destroy(c, ErrHandshake)
			n--
		}
	}
}

// run is the goroutine of a handshake.
func (s *shaking) run(l *loop) {
	l.secure.cpu <- struct{}{}
	r, err := s.shake(l)
	<-l.secure.cpu
	l.post(func() { s.over(r, err) })
}

// shake contains what certificates and their functions do.
func (s *shaking) shake(l *loop) (r tls.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.panickedAside("TLS handshake", p)
			err = ErrPanic
		}
	}()
	return tls.NewServer(s.config).Handshake(wire{s, l})
}

// wire is a shaking's goroutine's side.
type wire struct {
	s *shaking
	l *loop
}

// errLeft ends the handshake of a client that is gone.
var errLeft = fmt.Errorf("the client has left: %w", io.ErrUnexpectedEOF)

// Record waits for the next record, while others compute.
func (w wire) Record() ([]byte, error) {
	if err := w.l.reactor.Post(w.s.wanted, 0); err != nil {
		return nil, err
	}
	<-w.l.secure.cpu
	defer func() { w.l.secure.cpu <- struct{}{} }()
	select {
	case rec := <-w.s.records:
		return rec, nil
	case <-w.s.gone:
		return nil, errLeft
	}
}

// Send sends what crypto/tls has for the client, which is sealed where it has to
// be.
func (w wire) Send(p []byte) error {
	p = bytes.Clone(p)
	return w.l.reactor.Post(func() {
		if !w.s.c.has(flagDead | flagEnd) {
			w.l.transmit(w.s.c, p, nil)
		}
	}, 0)
}

// wanted runs on the loop.
func (s *shaking) wanted() {
	s.wants, s.since = true, s.c.loop.now
	s.feed()
}

// fed takes what was read meanwhile.
func (s *shaking) fed(p []byte) {
	s.c.input().wait.add(p)
	s.feed()
	s.c.loop.watch(s.c)
}

// feed gives the handshake its next record, if it waits for one that is whole. One
// that is too long is given as far as it is there, for the answer to its header.
func (s *shaking) feed() {
	c := s.c
	if !s.wants || c.in == nil || c.has(flagDead) {
		return
	}
	p := c.in.wait.bytes()
	n := min(tls.Need(p), tls.MaxRecord)
	if n == 0 || len(p) < n {
		return
	}
	s.wants = false
	s.records <- bytes.Clone(p[:n])
	c.in.wait.drop(n)
	c.emptied()
	c.loop.watch(c)
}

// over runs on the loop when the handshake is.
func (s *shaking) over(r tls.Result, err error) {
	c := s.c
	l := c.loop
	l.secure.shakes--
	l.secure.next(l.w.Limits.TLSHandshakes)
	if c.has(flagDead | flagEnd) {
		if r.Session != nil {
			r.Session.Drop(nil)
		}
		return
	}
	c.clear(flagHeld)
	c.more.held = nil
	switch {
	case err != nil:
		l.shakeFailed(c, err)
	default:
		c.shaken(r)
	}
}

// shakeFailed ends a client that has got its alert.
func (l *loop) shakeFailed(c *Conn, err error) {
	hint := err.Error()
	if more := certs.Hint(err); more != "" {
		hint += ": " + more
	}
	l.refused("tls_handshake", c.peer(), hint)
	l.finishAfter(c, stageDrain)
}

// shaken lets the connection speak. What has come behind the handshake is its
// first input.
func (c *Conn) shaken(r tls.Result) {
	l := c.loop
	if q := c.out; q != nil {
		q.harden()
	}
	var early []byte
	if c.in != nil {
		early, c.in = c.in.wait.bytes(), nil
	}
	c.settleSession(r.Session)
	if r.ALPN == certs.ALPN {
		l.finishAfter(c, stageDrain) // it has seen the certificate that it came for (RFC 8737)
		return
	}
	c.shed()
	c.speak(c.port.addr.speaks)
	c.transport.open(c)
	if c.has(flagGuest) {
		l.expect(c, guestPatience)
	}
	l.watch(c)
	if len(early) > 0 {
		c.unseal(early)
	}
}

// harden keeps handshake messages that are not sent yet from being sealed.
func (q *queue) harden() {
	for i, f := range q.frames {
		if i == 0 {
			f = f[q.off:]
		}
		q.sealed = append(q.sealed, f...)
	}
	q.frames, q.marks, q.off = nil, nil, 0
}
