package examples

import (
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// client is a WebSocket client that compares all that it gets.
type client struct {
	*pushdtest.Client
	t *testing.T
}

// next returns the next frame, whatever it is.
func (c client) next() (op byte, payload string) {
	c.t.Helper()
	op, raw, err := c.Next(pushdtest.Timeout)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return op, string(raw)
}

// want compares the next frame byte for byte.
func (c client) want(op byte, payload string) {
	c.t.Helper()
	if gotOp, got := c.next(); gotOp != op || got != payload {
		c.t.Fatalf("got opcode %d %q, want opcode %d %q", gotOp, got, op, payload)
	}
}

// send sends a frame.
func (c client) send(op byte, payload string) { c.t.Helper(); c.Send(op, []byte(payload)) }

// settle has the server answer a ping: all that the client sent before it has
// been through the callbacks.
func (c client) settle() {
	c.t.Helper()
	c.send(pushdtest.OpPing, "are you there?")
	c.want(pushdtest.OpPong, "are you there?")
}

// leave closes in order and fails if anything but the goodbye comes.
func (c client) leave() {
	c.t.Helper()
	c.send(pushdtest.OpClose, normal)
	c.want(pushdtest.OpClose, normal)
	if op, rest, err := c.Next(pushdtest.Timeout); err == nil {
		c.t.Fatalf("after the close frame came opcode %d %q", op, rest)
	}
}

// normal is the payload of a close frame with code 1000.
const normal = "\x03\xe8"

// ticks reads up to a mark and counts how often tick came before it.
func (c client) ticks(tick, mark string) (n int) {
	c.t.Helper()
	for {
		switch op, got := c.next(); {
		case op == pushdtest.OpText && got == mark:
			return n
		case op == pushdtest.OpText && got == tick:
			n++
		default:
			c.t.Fatalf("got opcode %d %q, want %q or %q", op, got, tick, mark)
		}
	}
}
