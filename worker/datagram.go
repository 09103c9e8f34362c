package worker

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// datagram delivers a UDP packet. It comes on a Conn that lives for this call
// only: Send answers its sender, everything that needs a lasting connection
// does nothing.
func (l *loop) datagram(s sock, buf []byte) {
	a, ok := s.LocalAddr().(*net.UDPAddr)
	if !ok {
		return
	}
	i := portOf(a.IP)
	if i < 1 || i > len(l.ports) || !l.ports[i-1].open {
		return
	}
	c := &Conn{
		sock: s, loop: l, seat: l.plain.at(l.ports[i-1]), stage: stageDatagram,
		lastRecv: seconds(l.now), since: uint32(time.Now().Unix()),
	}
	c.received(len(buf))
	if limit := l.w.Limits.MaxMessage; limit > 0 && len(buf) > limit {
		l.refused("datagram", c.peer().String(), "limits.max_message")
		return
	}
	c.set(flagConnected)
	c.route.message(c, Message{Data: buf})
	c.set(flagDead)
	c.sock = nil
}

// sendDatagram answers the sender of a datagram. A full socket drops it.
func (l *loop) sendDatagram(c *Conn, m Message) error {
	c.sentMessages(1)
	l.counts.messagesOut++
	if _, err := c.sock.Write(m.Data); err != nil {
		l.failSend("datagram")
		if err == unix.EAGAIN {
			return ErrQueueFull
		}
		return err
	}
	return nil
}
