package worker

import (
	"encoding/json"
	"math/rand/v2"
	nethttp "net/http"
	"time"

	"github.com/pushd/pushd/protocol/http"
	"github.com/pushd/pushd/protocol/sse"
	"github.com/pushd/pushd/protocol/websocket"
)

// transportSSE: server-sent events, the answer to a request that Response.Stream
// has been called for. The answer has neither a length nor chunks: it ends with
// the connection, so that each event is the same bytes for all, and proxies that
// speak HTTP/1.0 to us pass it on. What the client still sends is thrown away.
var transportSSE = &transport{}

func init() {
	*transportSSE = transport{
		name: "sse", number: 4, behind: transportHTTP,
		flags: flagConnected | flagPaused | flagPinged | flagFull,
		talks: true, moves: true, stays: true, events: true,
		await:   func(c *Conn) { c.loop.beatFrom(c) },
		receive: func(*Conn, []byte) []byte { return nil },
		encode:  (*Conn).encodeEvent, variant: (*Conn).eventVariant,
		goodbye: (*Conn).sayEnd, due: (*Conn).dueSSE,
	}
	register(transportSSE)
}

// streams reports whether the record of c has what version 6 has.
func (c *Conn) streams() bool { return c.transport == transportSSE || c.transport == transportPoll }

// Event is one event of a stream.
type Event = sse.Event

// Stream makes the answer a stream of server-sent events, and the connection one
// like any other, which moves in a reload: it joins channels, gets messages as
// data, has a queue and its limits. The header goes out with status 200, behind
// it what has been written (a comment, say); then OnConnect runs, before Stream
// returns. The Response is over.
//
// Header may add to the answer and replace Cache-Control. The client is told to
// wait 1 to 5 s, drawn for each, before it comes back; an Event with Retry changes
// that. Every ping_interval it gets a comment.
//
// It returns false when there is no stream: the answer to HEAD is its header; who
// came to a process that is full or about to end is sent away, to come back in 1
// to 10 s; the client is gone, or the answer has begun otherwise.
func (w *Response) Stream() bool {
	c, l := w.c, w.c.loop
	if w.done || w.started || c.has(flagDead|flagEnd) {
		return false
	}
	if c.Full() {
		l.refused("full", c.RemoteAddr(), "limits.max_connections, or the limit of descriptors")
	}
	if w.head || c.Full() || l.phase.leaving() {
		w.TurnAway()
		return false
	}
	body := w.body
	w.beginStream()
	l.emit(c, func(dst []byte) []byte { return sse.Append(append(dst, body...), Event{Retry: firstRetry()}) })
	c.speak(transportSSE)
	l.beatFrom(c)
	l.reactor.Settle(c.sock)
	c.route.connect(c)
	return c.open()
}

// TurnAway answers one who has asked for a stream and is not to have it now, in
// the words of a stream: a browser that gets an error as a status never comes
// back. The client gets the events, is told to come back in 1 to 10 s, drawn for
// each, and that is the end.
func (w *Response) TurnAway(events ...Event) {
	c, l := w.c, w.c.loop
	if w.done || w.started || c.has(flagDead|flagEnd) {
		return
	}
	if w.head {
		w.eventHeader()
		w.End()
		return
	}
	w.beginStream()
	l.emit(c, func(dst []byte) []byte {
		for _, e := range events {
			dst = sse.Append(dst, e)
		}
		return sse.Append(dst, Event{Retry: comeBack()})
	})
	l.finishAfter(c, stageDrain)
}

// asksForEvents reports whether the answer is to be a stream of events.
func asksForEvents(h nethttp.Header) bool {
	return http.Accepts(h, eventStream)
}

const eventStream = "text/event-stream"

func (w *Response) eventHeader() {
	w.status, w.body = nethttp.StatusOK, nil
	w.header.Set("Content-Type", eventStream)
	for name, value := range map[string]string{"Cache-Control": "no-store", "X-Accel-Buffering": "no"} { // of nginx
		if w.header.Get(name) == "" {
			w.header.Set(name, value)
		}
	}
}

// beginStream sends the header, and ends the answer but for what follows it.
func (w *Response) beginStream() {
	w.eventHeader()
	w.closing = true
	w.c.loop.holdFor(w.c)
	w.sendHead(http.Untold)
	w.release()
}

// release ends the answer, but for what goes out by other ways.
func (w *Response) release() {
	c := w.c
	w.finish()
	if c.more != nil {
		c.more.held = nil
		c.shed()
	}
	c.clear(flagHeld)
}

// How long clients wait before they come back. A killed process says nothing to
// its clients, so each knows a time of its own from the beginning.
func firstRetry() time.Duration { return time.Second + rand.N(4*time.Second) }
func comeBack() time.Duration   { return time.Second + rand.N(9*time.Second) }

// SendEvent sends an event to a client of a stream, and to others its Data as a
// text message. It is Send otherwise.
func (c *Conn) SendEvent(e Event) error {
	if !c.transport.events {
		return c.Send(Message{Data: e.Data})
	}
	if !c.open() {
		return ErrClosed
	}
	return c.loop.sendAs(c, len(e.Data), func(dst []byte) []byte { return sse.Append(dst, e) })
}

// encodeEvent appends a message as an event without a name.
func (c *Conn) encodeEvent(dst []byte, m Message) []byte {
	if m.Binary {
		return sse.AppendBinary(dst, m.Data)
	}
	return sse.AppendData(dst, m.Data)
}

// eventVariant tells those apart to whom a position means less, see Published, and
// those who want one with each message.
func (c *Conn) eventVariant(int) variant {
	v := variant{transport: transportSSE}
	if c.joins() {
		v.bits = 1
	}
	if c.Positions() {
		v.bits |= 2
	}
	return v
}

// sayEnd tells why the stream ends, where that is not the end that was to be
// expected, and when to come back.
func (c *Conn) sayEnd(code int, reason string) (answers bool) {
	if code == 0 || code == int(websocket.CloseNormal) {
		return false
	}
	data, _ := json.Marshal(struct {
		Code   int    `json:"code"`
		Reason string `json:"reason,omitempty"`
	}{code, reason})
	c.loop.emit(c, func(dst []byte) []byte {
		return sse.Append(dst, Event{Type: "pushd:close", Retry: comeBack(), Data: data})
	})
	return false
}

// dueSSE keeps proxies from taking the stream for dead, and notices a client that
// is: its system acknowledges what it is sent, whoever reads it.
func (c *Conn) dueSSE() {
	l := c.loop
	interval, timeout := l.w.PingInterval, l.w.PingTimeout
	if interval == 0 {
		return
	}
	if c.has(flagPinged) {
		switch silent := c.sock.Silence(); {
		case silent >= interval+timeout:
			l.unanswered(c)
			return
		case silent > 0:
			l.expect(c, interval+timeout-silent)
			return
		case interval > timeout:
			c.clear(flagPinged)
			l.expect(c, max(interval-timeout, time.Second))
			return
		}
	}
	l.control(c, commentLine, pingMark)
	if timeout == 0 {
		l.expect(c, max(interval, time.Second))
		return
	}
	c.set(flagPinged)
	l.expect(c, max(min(timeout, interval), time.Second))
}

// commentLine is what all of them are sent.
var commentLine = []byte(sse.Comment)
