package worker

import "github.com/pushd/pushd/protocol/http"

// transportLines: an answer that goes on for as long as the connection does, of
// which each message is a piece as it is: a protocol's own way to stream, in place
// of events. What the client still sends is thrown away.
var transportLines = &transport{}

func init() {
	*transportLines = transport{
		name: "lines", number: 7, behind: transportHTTP, flags: flagConnected | flagPaused | flagFull,
		talks: true, moves: true, stays: true, whole: true,
		receive: func(*Conn, []byte) []byte { return nil },
		encode:  encodeRaw, variant: func(*Conn, int) variant { return variant{transport: transportLines} },
	}
	register(transportLines)
}

// StreamLines makes the answer one without an end: what has been written goes out
// with the header, status 200, and then each message that the connection is sent,
// as it is. Everything else is as in Stream; nothing is sent that the handler does
// not send, and no message is dropped: a client that reads too slowly is closed.
func (w *Response) StreamLines() bool {
	c, l := w.c, w.c.loop
	if w.done || w.started || w.head || c.has(flagDead|flagEnd) || c.Full() || l.phase.leaving() {
		return false
	}
	body := w.body
	w.status, w.body, w.closing = 200, nil, true
	l.holdFor(c)
	w.sendHead(http.Untold)
	w.release()
	l.emit(c, func(dst []byte) []byte { return append(dst, body...) })
	c.speak(transportLines)
	l.expect(c, 0)
	l.reactor.Settle(c.sock)
	c.route.connect(c)
	return c.open()
}

func encodeRaw(_ *Conn, dst []byte, m Message) []byte { return append(dst, m.Data...) }
