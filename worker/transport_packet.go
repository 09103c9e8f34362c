package worker

import (
	"github.com/pushd/pushd/protocol"
	"github.com/pushd/pushd/protocol/websocket"
)

// transportPacket: packets of the listener's protocol.Protocol on a stream.
var transportPacket = &transport{}

func init() {
	*transportPacket = transport{
		number: 2, flags: flagConnected | flagPaused | flagFull | flagHeader,
		talks: true, moves: true, stays: true,
		open: func(c *Conn) {
			c.loop.reactor.Settle(c.sock)
			c.route.connect(c)
		},
		receive: (*Conn).packets, encode: (*Conn).encodePacket,
		variant: func(c *Conn, _ int) variant { return variant{transport: transportPacket, port: c.port} },
	}
	register(transportPacket)
}

// encodePacket appends m as a packet; without a listener nobody reads it.
func (c *Conn) encodePacket(dst []byte, m Message) []byte {
	if p := c.port.addr.packet; p != nil {
		return p.Encode(dst, m.Data)
	}
	return dst
}

// packets cuts p into packets and delivers them. It returns what is left, which is
// nothing where the protocol has panicked.
func (c *Conn) packets(p []byte) (rest []byte) {
	defer c.containProtocol(nil)
	seen := 0
	if in := c.in; in != nil {
		if len(p) < in.need {
			return p
		}
		seen, in.seen, in.need = in.seen, 0, 0
	}
	proto, limit := c.port.addr.packet, c.loop.w.Limits.MaxMessage
	for ; len(p) > 0 && !c.has(flagPaused|flagDead|flagEnd) && !c.loop.turnOver(); seen = 0 {
		n, err := protocol.Input(proto, p, seen, limit)
		if err != nil {
			c.loop.fail(c, websocket.ClosePolicy, err)
			return nil
		}
		if n <= 0 || n > len(p) {
			in := c.input()
			in.seen, in.need = len(p), n
			break
		}
		if !c.withinRate() {
			return nil
		}
		payload, err := proto.Decode(p[:n])
		if err != nil {
			c.loop.fail(c, websocket.ClosePolicy, err)
			return nil
		}
		p = p[n:]
		c.route.message(c, Message{Data: payload})
		c.loop.worked(0)
	}
	return p
}
