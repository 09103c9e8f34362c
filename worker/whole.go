package worker

import (
	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/record"
)

// A record comes from a worker of another version, or from one that somebody
// has taken over: each field may be right and the whole make no sense. What it
// says is checked here before anything acts on it, so that no record ends the
// process that reads it, nor goes round its limits.

// check refuses a record that is in itself a contradiction. It runs on any
// goroutine.
func (a *arrival) check() error {
	c, t := a.c, a.speaks
	if c.id == (ID{}) || a.port == "" || t == nil {
		return record.ErrDamaged
	}
	// One whose address says nothing here finds no listener, so it is closed.
	at, err := parseListen(a.port)
	if err == nil && at.speaks != t && at.speaks != t.behind && !(at.secure && t == transportTLS) {
		return record.ErrDamaged
	}
	if err := a.checkSealed(); err != nil {
		return err
	}
	c.flags &= t.flags
	if t.check != nil {
		if err := t.check(a); err != nil {
			return err
		}
	}
	if c.in != nil && !c.in.dec.Idle() && t != transportWebSocket {
		return record.ErrDamaged
	}
	if len(a.texts) > 0 {
		c.extra().texts = record.Texts(a.texts)
		if c.more.texts.Size(record.Value) > maxSession {
			return record.ErrDamaged
		}
	}
	return nil
}

// bound holds what has arrived unfinished to the limits of this process, which
// may be tighter than those of the other one. It runs on the loop.
func (l *loop) bound(c *Conn) {
	if c.in == nil {
		return
	}
	limits := l.frameLimits()
	if err := c.in.dec.Check(&limits); err != nil {
		e := err.(*websocket.CloseError)
		l.fail(c, e.Code, e)
	}
}
