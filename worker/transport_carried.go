package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker/record"
)

// transportCarried: a connection that has no client's socket. Requests carry it:
// what they bring it hears (Conn.Hear), and what it is sent is collected until its
// handler takes that (OnCarry) for whoever waits for it at the moment. Its own
// descriptor is one by which nothing comes, so that it is registered, moves and
// ends like all others.
var transportCarried = &transport{}

func init() {
	*transportCarried = transport{
		name: "carried", number: 6, behind: transportHTTP, flags: flagConnected | flagFull,
		talks: true, moves: true, stays: true,
		receive: func(*Conn, []byte) []byte { return nil },
		collect: (*Conn).collectCarried, encode: encodeText,
		variant: func(*Conn, int) variant { return variant{transport: transportCarried} },
		goodbye: (*Conn).sayCarriedEnd, check: checkCarried,
	}
	register(transportCarried)
}

// carries reports whether the record of c has what version 7 has.
func (c *Conn) carries() bool {
	if c.transport == transportCarried || c.transport == transportLines {
		return true
	}
	p := c.poll()
	return p != nil && p.raw
}

// Carried makes a connection of the route and the client of the request that has
// no socket of its own. It is at path, which must be one of the route's, shared by
// as many as can be. begin runs on the loop in a later turn, before OnConnect, and
// may end it by false; with nil when there is no such connection after all. Errors:
// this process is full, or about to end: then the client's own connection ends with
// the answer, so that its next request can come to another process, which has room.
//
// Such a connection is one like any other: it joins channels, has session values,
// a queue of MaxQueue, over which it is closed, and moves in a reload. What it is
// sent waits, as JSON strings, for OnCarry of its handler. It counts as a
// connection beside those that carry it.
func (w *Response) Carried(path string, begin func(c *Conn) bool) error {
	rt := w.c.loop.match(path)
	if rt == nil || rt.pattern != w.c.route.pattern {
		return fmt.Errorf("path %s is not one of the route's", path)
	}
	err := w.carried(rt, path, func(c *Conn) bool {
		w.closing = w.closing || c == nil
		return begin(c)
	})
	w.closing = w.closing || err != nil
	return err
}

func (w *Response) carried(rt *route, path string, begin func(c *Conn) bool) error {
	of, l := w.c, w.c.loop
	if l.phase.leaving() || of.Full() {
		return errNoPlace
	}
	fd, err := l.reactor.Blank()
	if err != nil {
		return fmt.Errorf("a descriptor for a carried connection: %w", err)
	}
	if l.full(fd + 1) {
		closeFD(fd)
		l.refused("full", of.RemoteAddr(), "limits.max_connections, or the limit of descriptors")
		return errNoPlace
	}
	c := &Conn{
		loop: l, seat: l.plain.at(of.port, transportCarried), id: l.freshID(),
		lastRecv: seconds(l.now), since: uint32(l.reactor.Wall().Unix()),
	}
	c.pend(poll{terms: &terms{}})
	c.enter(rt, path)
	c.remember(record.IP, "", of.RemoteIP())
	if l.accept.byIP != nil && !l.welcome(c) {
		closeFD(fd)
		l.refused(tooMany, of.RemoteAddr(), tooManyDetail)
		return errNoPlace
	}
	l.conns.add(c)
	l.landing[c] = func(ok bool) {
		switch {
		case !ok:
			l.carriedBegins(nil, begin)
		case l.carriedBegins(c, begin):
			c.route.connect(c)
		default:
			l.destroy(c, nil)
		}
	}
	l.reactor.AdoptSettled(c, fd)
	return nil
}

// carriedBegins calls begin; a panic is a no.
func (l *loop) carriedBegins(c *Conn, begin func(c *Conn) bool) (ok bool) {
	defer l.contain("Carried", nil)
	return begin(c)
}

var errNoPlace = errors.New("this process has no place for one more connection")

// Hear gives a carried connection a message, as if its client had sent it by a
// socket: limits and rates hold. Errors: ErrClosed, ErrTooLarge.
func (c *Conn) Hear(m Message) error {
	if c.transport != transportCarried || !c.open() {
		return ErrClosed
	}
	limit := c.loop.w.Limits.MaxMessage
	if limit > 0 && len(m.Data) > limit {
		return ErrTooLarge
	}
	c.lastRecv = seconds(c.loop.now)
	c.received(len(m.Data))
	if !c.withinRate() {
		return ErrClosed
	}
	c.route.message(c, m)
	return nil
}

// Collected returns what a carried connection has been sent: JSON strings with a
// comma behind each, all of it ASCII. It is valid until the next message.
func (c *Conn) Collected() []byte {
	if p := c.poll(); p != nil && c.transport == transportCarried {
		return p.items
	}
	return nil
}

// Discard forgets the first n bytes of what was collected.
func (c *Conn) Discard(n int) {
	p := c.poll()
	rest := p.items[n:]
	if len(rest) == 0 {
		p.items = nil
		return
	}
	p.items = append(p.items[:0], rest...)
}

// collectCarried takes items, each with a comma behind it.
func (c *Conn) collectCarried(items []byte) {
	p, l := c.poll(), c.loop
	p.items = append(p.items, items...)
	if limit := l.w.Limits.MaxQueue; limit > 0 && len(p.items) > limit && c.open() && c.sock.Valid() {
		l.failSend("slow")
		l.destroy(c, ErrSlow)
		return
	}
	l.polled = append(l.polled, c)
}

// encodeText appends a message as a JSON string of ASCII, whose length is the same
// to all who count in it.
func encodeText(_ *Conn, dst []byte, m Message) []byte {
	text, _ := json.Marshal(strings.ToValidUTF8(string(m.Data), string(utf8.RuneError)))
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			dst = append(dst, text[i])
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		dst = appendEscape(dst, r)
		i += n
	}
	return append(dst, ',')
}

// appendEscape appends a character as JSON has it in ASCII.
func appendEscape(dst []byte, r rune) []byte {
	if r < 0x10000 {
		return fmt.Appendf(dst, `\u%04x`, r)
	}
	r -= 0x10000
	return fmt.Appendf(dst, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
}

// sayCarriedEnd lets the handler tell whoever waits.
func (c *Conn) sayCarriedEnd(code int, reason string) (answers bool) {
	c.route.carried(c, &CloseError{Code: uint16(code), Reason: reason})
	if p := c.poll(); p != nil {
		c.Discard(len(p.items))
	}
	return false
}

// carried calls OnCarry.
func (r *route) carried(c *Conn, end *websocket.CloseError) {
	if r.onCarry != nil {
		defer c.loop.contain("OnCarry", nil)
		r.onCarry(c, end)
	}
}

// checkCarried: it has what it has collected.
func checkCarried(a *arrival) error {
	p := a.c.poll()
	if p == nil || p.raw || p.header != "" || len(a.c.out.frames) > 0 || !p.valid() {
		return record.ErrDamaged
	}
	return nil
}

// valid reports whether the items are some.
func (p *poll) valid() bool {
	n := len(p.items)
	return n == 0 || p.items[n-1] == ',' && json.Valid(append(append([]byte("["), p.items[:n-1]...), ']'))
}
