package worker

import (
	"errors"

	"github.com/pushd/pushd/worker/reactor"
)

// transportDatagram: a UDP packet. It comes on a Conn that lives for one turn only: Send answers its
// sender, everything that needs a lasting connection does nothing.
var transportDatagram = &transport{}

func init() {
	*transportDatagram = transport{once: true, receive: (*Conn).packet}
	register(transportDatagram, "udp")
}

// datagram makes that Conn.
func (l *loop) datagram(h reactor.Handle, p *port) *Conn {
	return &Conn{
		sock: h, loop: l, seat: l.plain.at(p, transportDatagram),
		lastRecv: seconds(l.now), since: uint32(l.reactor.Wall().Unix()),
	}
}

// packet delivers it.
func (c *Conn) packet(p []byte) []byte {
	l := c.loop
	c.received(len(p))
	if limit := l.w.Limits.MaxMessage; limit > 0 && len(p) > limit {
		l.refused("datagram", c.peer(), "limits.max_message")
		return nil
	}
	c.set(flagConnected)
	c.route.message(c, Message{Data: p})
	return nil
}

// sendDatagram answers the sender of a datagram. A full socket drops it.
func (l *loop) sendDatagram(c *Conn, m Message) error {
	c.sentMessages(1)
	l.counts.messagesOut++
	err := c.sock.Reply(m.Data)
	if err == nil {
		return nil
	}
	l.failSend("datagram")
	if errors.Is(err, reactor.ErrFull) {
		return ErrQueueFull
	}
	return err
}
