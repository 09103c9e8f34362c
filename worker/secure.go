package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/tls"
	"github.com/pushd/pushd/worker/record"
)

// TLS lies between the socket and what a connection speaks: what is read is opened
// where it was read into, before anything else looks at it, and what is written is
// sealed right before write(2). Queues hold what is not sealed, so that a frame is
// shared by all it goes to. What the socket did not take of sealed bytes is kept,
// since nothing is ever sealed twice. A connection has a tls.Session from the end
// of its handshake on; those without one pay nothing.

// secure is what the connections under TLS have in common. It belongs to the loop,
// but for cpu.
type secure struct {
	ring   tls.Ring
	buf    []byte // of what is sealed
	shakes int    // handshakes under way
	queue  []*shaking
	cpu    chan struct{} // one for each handshake that may compute
}

// sealAtOnce is how much is sealed for one write.
const sealAtOnce = 4 * tls.MaxData

// guard gives a port that is behind TLS its certificates. All ports that speak
// alike share them.
func (l *loop) guard(p *port, store *certs.Store) (err error) {
	switch {
	case !p.addr.secure:
		return nil
	case l.w.TLS == nil:
		return fmt.Errorf("listener %s has no certificate: its worker needs tls = { cert = …, key = … }", p.addr.text)
	case store == nil:
		return errors.New("this process was given no certificates")
	case l.secure.cpu == nil:
		if err := l.secure.prepare(); err != nil {
			return err
		}
	}
	if p.addr.speaks.requests {
		p.tls, err = store.Set(*l.w.TLS, "http/1.1")
	} else {
		p.tls, err = store.Set(*l.w.TLS)
	}
	return err
}

// prepare is for the start of a process that has TLS listeners.
func (x *secure) prepare() error {
	if err := tls.SelfTest(); err != nil {
		return err
	}
	x.cpu = make(chan struct{}, max(runtime.GOMAXPROCS(0)-1, 1))
	return nil
}

// underTLS reports whether a record of c says what only a reader that knows TLS
// must read.
func (c *Conn) underTLS() bool { return c.session != nil || c.transport == transportTLS }

// unseal takes what was read of a connection under TLS.
func (c *Conn) unseal(p []byte) {
	if c.in != nil && len(c.in.sealed) > 0 {
		var rec []byte
		if rec, p = c.in.complete(p); rec == nil {
			return
		}
		c.decrypt(rec)
	}
	if len(p) > 0 && c.session != nil && !c.has(flagDead) && c.stage != stageDrain {
		c.decrypt(p)
	}
}

// complete adds what is missing to the record that has not come whole. Each byte
// is copied once, however small the pieces are. rec is nil as long as it is not
// whole, else it may be changed.
func (in *input) complete(p []byte) (rec, rest []byte) {
	for {
		need := max(tls.Need(in.sealed), tls.HeaderLen)
		if need > tls.MaxRecord {
			need = tls.HeaderLen // which says that it is too long
		}
		n := min(need-len(in.sealed), len(p))
		in.sealed = append(in.sealed, p[:max(n, 0)]...)
		p = p[max(n, 0):]
		switch {
		case len(in.sealed) < need:
			return nil, nil
		case need > tls.HeaderLen || tls.Need(in.sealed) > tls.MaxRecord || tls.Need(in.sealed) == tls.HeaderLen:
			rec, in.sealed = in.sealed, nil
			return rec, p
		}
	}
}

// decrypt opens the records of p in place and passes on what they say.
func (c *Conn) decrypt(p []byte) {
	data, rest, err := c.session.Open(&c.loop.secure.ring, p)
	if len(rest) > 0 {
		c.input().sealed = bytes.Clone(rest)
	}
	if len(data) > 0 {
		c.take(data)
	}
	switch {
	case err == nil || c.session == nil || c.has(flagDead) || c.stage == stageDrain:
	case errors.Is(err, io.EOF):
		c.heardAll()
	default:
		c.loop.broken(c, err)
	}
}

// heardAll ends a connection whose client has said that nothing follows, once all
// that it has said is worked on, as the end of a stream in the clear does: half a
// message will never be a whole one.
func (c *Conn) heardAll() {
	if c.session == nil || !c.session.Closed() || c.putsOff() || c.has(flagDead|flagMoving) {
		return
	}
	l := c.loop
	if l.cork.c == c {
		l.uncork()
	}
	if !c.out.waits() {
		l.sealEnd(c, nil)
	}
	l.destroy(c, c.cause(io.EOF))
}

// errBroken ends a connection whose client broke the protocol in the moment in which it
// was frozen.
var errBroken = errors.New("TLS client broke the protocol during a hand-over")

// broken ends a connection whose client does not keep to TLS, or has sent an
// alert.
func (l *loop) broken(c *Conn, err error) {
	if c.has(flagMoving) {
		return // where it goes it is at its end
	}
	var a tls.Alert
	if errors.As(err, &a) && !a.Remote {
		l.refused("tls_record", c.peer(), err.Error())
	}
	if c.extra().err == nil {
		c.more.err = err
	}
	if l.cork.c == c {
		l.uncork()
	}
	if c.has(flagDead) {
		return
	}
	if q := c.out; q != nil && q.off > 0 {
		rest := len(q.frames[0]) - q.off
		q.bytes -= rest
		l.counts.queueBytes -= int64(rest)
		q.pop()
	}
	l.abandon(c)
	if l.sealEnd(c, err); !c.has(flagDead) {
		l.finishAfter(c, stageDrain)
	}
}

// sealEnd sends the last record of a connection under TLS: close_notify, or the
// alert that why is. It reports whether nothing of that is left to send.
func (l *loop) sealEnd(c *Conn, why error) bool {
	if c.session == nil || !c.sock.Valid() || c.has(flagDead) {
		return true
	}
	s := &l.secure
	if s.buf = c.session.Shut(&s.ring, s.buf[:0], why); len(s.buf) == 0 {
		return !c.out.waits()
	}
	return l.sendSealed(c, s.buf)
}

// writeSealed seals b and writes it: as much as the socket takes, and what is
// sealed by then. It returns how much that is, -1 when the socket is broken.
func (l *loop) writeSealed(c *Conn, b []byte) (n int) {
	s := &l.secure
	for all := true; all && n < len(b); {
		piece := b[n:min(n+sealAtOnce, len(b))]
		var err error
		if s.buf, err = c.session.Seal(&s.ring, s.buf[:0], piece); err != nil {
			l.failSend("write")
			l.destroy(c, err)
			return -1
		}
		n += len(piece)
		if all = l.sendSealed(c, s.buf); c.has(flagDead) {
			return -1
		}
	}
	if c.session.Worn() {
		l.wearOut(c)
	}
	return n
}

// sendSealed writes sealed bytes and keeps what the socket does not take. Nothing
// sealed waits. It reports whether all is sent.
func (l *loop) sendSealed(c *Conn, b []byte) bool {
	n := 0
	if c.out == nil || len(c.out.sealed) == 0 {
		if n = l.put(c, b); n == len(b) || n < 0 {
			return n > 0
		}
	}
	q := l.queue(c)
	q.sealed = append(q.sealed, b[n:]...)
	q.bytes += len(b) - n
	l.counts.queueBytes += int64(len(b) - n)
	return false
}

// flush writes what waits sealed, and reports whether all of it is sent.
func (l *loop) flush(c *Conn, q *queue) bool {
	n := l.put(c, q.sealed)
	if n < 0 {
		return false
	}
	q.bytes -= n
	l.counts.queueBytes -= int64(n)
	if q.sealed = q.sealed[n:]; len(q.sealed) > 0 {
		l.awaitRoom(c)
		return false
	}
	q.sealed = nil
	return true
}

// wearOut ends a connection of TLS 1.2 whose key is used up, after as many records
// as no such client has been seen to send.
func (l *loop) wearOut(c *Conn) {
	if !c.has(flagEnd) && c.stage == stageOpen {
		l.post(func() { l.closeConn(c, 1012, "key is used up", nil) })
	}
}

// dropSession wipes the keys of a connection that is gone or lives elsewhere.
func (l *loop) dropSession(c *Conn) {
	if c.session != nil {
		c.session.Drop(&l.secure.ring)
		c.seat = c.route.at(c.port, c.transport)
	}
}

// settleSession puts a session under what the connection speaks.
func (c *Conn) settleSession(s *tls.Session) {
	c.seat = &seat{c.place, s}
}

// appendSession appends the state of the session to a record.
func (c *Conn) appendSession(dst []byte) []byte {
	if c.session == nil {
		return dst
	}
	var b [tls.MaxState]byte
	dst = record.Append(dst, record.Session, c.session.Append(b[:0]))
	clear(b[:])
	return dst
}

// sealed takes what a record says of TLS.
func (a *arrival) sealed(tag byte, v []byte) error {
	c := a.c
	switch tag {
	case record.Session:
		s, err := tls.Restore(v)
		if err != nil || c.session != nil {
			return record.ErrDamaged
		}
		c.settleSession(s)
	case record.SealedIn:
		c.input().sealed = bytes.Clone(v)
	case record.SealedOut:
		c.out.sealed = append(c.out.sealed, v...)
		c.out.bytes += len(v)
	}
	return nil
}

// maxSealed bounds what a record may have of sealed bytes that are not sent: what
// was sealed for one write, the rest of handshake messages before it, and the end.
const maxSealed = 1 << 20

// checkSealed refuses what a record cannot say of TLS.
func (a *arrival) checkSealed() error {
	c := a.c
	in := c.in != nil && len(c.in.sealed) > 0
	switch {
	case c.session == nil && (in || len(c.out.sealed) > 0), c.session != nil && a.speaks == transportTLS,
		in && len(c.in.sealed) >= tls.MaxRecord, len(c.out.sealed) > maxSealed:
		return record.ErrDamaged
	}
	return nil
}
