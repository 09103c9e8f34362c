package worker

import (
	"errors"
	"io"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// How long a peer may take to finish a close.
const (
	closeTimeout = 5 * time.Second // to answer a close frame
	drainTimeout = 2 * time.Second // to close after we did
)

// closeConn begins an orderly close: what is queued goes out first, then the
// goodbye of the protocol. err is what OnClose will get.
func (l *loop) closeConn(c *Conn, code int, reason string, err error) {
	if c.has(flagDead|flagEnd|flagMoving) || c.stage != stageOpen || c.datagram() {
		return
	}
	if err != nil {
		c.extra().err = err
	}
	if errors.Is(err, ErrSlow) {
		l.abandon(c) // it would not read it anyway
	}
	if c.transport.goodbye == nil {
		l.finishAfter(c, stageDrain)
		return
	}
	c.stage = stageClosing
	c.route.closing(c)
	if !c.transport.goodbye(c, code, reason) {
		l.finishAfter(c, stageDrain)
		return
	}
	l.expect(c, closeTimeout)
	l.hearOut(c)
}

// badCode tells of a close code that is the program's mistake.
func (l *loop) badCode(c *Conn, code int) {
	if log := &l.counts.codeLog; log.allow(l.now) {
		l.log.Error("closed a client with 1011", "connection", c.ID(), "code", code, "hint", ErrCloseCode.Error(), "more", log.taken())
	}
}

// hearOut makes sure that the peer's answer to a close frame is read.
func (l *loop) hearOut(c *Conn) {
	c.clear(flagPaused | flagHeld)
	l.resume(c)
}

// fail ends a connection that broke the rules. What it still sends is thrown
// away, so that our close frame reaches it and no reset overtakes it.
func (l *loop) fail(c *Conn, code uint16, err error) {
	if c.has(flagDead|flagEnd) || c.stage == stageDrain {
		return
	}
	if c.extra().err == nil {
		c.more.err = err
	}
	if c.stage == stageOpen && c.transport.goodbye != nil {
		var e *CloseError
		reason := ""
		if errors.As(err, &e) {
			reason = e.Reason
		}
		c.transport.goodbye(c, int(code), reason)
	}
	l.finishAfter(c, stageDrain)
}

// finishAfter ends the connection once everything is sent: with stageClosing at
// once, with stageDrain by closing our side and waiting for the peer's.
func (l *loop) finishAfter(c *Conn, s stage) {
	c.stage = s
	c.set(flagEnd)
	if l.cork.c == c {
		l.uncork()
	}
	l.expect(c, drainTimeout)
	c.clear(flagPaused | flagHeld)
	l.watch(c)
	if c.out == nil {
		l.finish(c)
	}
}

// finish runs when a connection that is to end has nothing left to send.
func (l *loop) finish(c *Conn) {
	if !l.sealEnd(c, nil) {
		return // again when that is out
	}
	if c.stage == stageDrain && c.sock.ShutWrite() {
		return
	}
	l.destroy(c, nil)
}

// gone runs when the socket is closed, for whatever reason: the one place
// where a connection ends.
func (l *loop) gone(c *Conn, err error) {
	c.set(flagDead)
	if c.out != nil {
		l.counts.queueBytes -= int64(c.out.bytes)
		c.out = nil
	}
	if l.cork.c == c {
		l.cork.c, l.cork.buf, l.cork.cuts = nil, l.cork.buf[:0], l.cork.cuts[:0]
	}
	l.stopTimers(c)
	if c.has(flagConnected) {
		c.route.closed(c, c.cause(err))
	}
	if c.more != nil && c.more.held != nil {
		c.more.held.abort()
	}
	l.farewell(c)
	l.hub.LeaveAll(c)
	l.recall.forget(c)
	l.conns.remove(c)
	l.dropSession(c)
	c.in = nil
	c.sock = reactor.Handle{}
	l.admitAgain()
}

// cause turns how the socket ended into what OnClose gets.
func (c *Conn) cause(err error) error {
	switch {
	case c.more != nil && c.more.err != nil:
		return c.more.err
	case err == nil || c.has(flagEnd) || c.stage == stageClosing:
		return nil
	case errors.Is(err, io.EOF) && c.stage == stageOpen:
		return c.transport.cut
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

func (l *loop) stopTimers(c *Conn) {
	if c.more == nil {
		return
	}
	for t := range c.more.timers {
		t.Stop()
	}
}
