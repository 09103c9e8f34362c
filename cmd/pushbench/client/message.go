package client

import "errors"

var errFragments = errors.New("fragments from the server are out of order")

// frameIn handles one frame: control frames at once, data frames when the
// message is whole.
func (l *Loop) frameIn(c *Conn, f frame, payload []byte) {
	switch f.op {
	case Ping:
		l.Pings++
		if c.state == open {
			l.sendFrame(c, Pong, payload)
		}
	case Pong:
	case Close:
		l.closeIn(c, payload)
	default:
		l.dataIn(c, f, payload)
	}
}

func (l *Loop) dataIn(c *Conn, f frame, payload []byte) {
	begun := c.incomplete != nil && c.op != 0
	switch {
	case begun != (f.op == Continuation):
		l.drop(c, errFragments)
	case f.fin && !begun:
		l.deliver(c, f.op, payload)
	case len(payload) > MaxMessage || begun && len(c.message)+len(payload) > MaxMessage:
		l.drop(c, ErrTooLong)
	default:
		p := c.buffers()
		if !begun {
			p.op = f.op
		}
		p.message = append(p.message, payload...)
		if f.fin {
			op, message := p.op, p.message
			p.op, p.message = 0, nil
			l.deliver(c, op, message)
		}
	}
}

func (l *Loop) deliver(c *Conn, op Opcode, message []byte) {
	l.Messages++
	c.handler.Message(c, op, message)
}

// closeIn ends a close handshake, or answers one that the server began.
func (l *Loop) closeIn(c *Conn, payload []byte) {
	if c.state == closing {
		l.drop(c, nil)
		return
	}
	err := closeError(payload)
	l.sendFrame(c, Close, payload[:min(len(payload), 2)])
	l.drop(c, err)
}
