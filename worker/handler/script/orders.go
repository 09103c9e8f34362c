package script

import (
	"errors"
	"fmt"
	nethttp "net/http"
	"net/netip"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

// maxName bounds the names of channels and users, in bytes.
const maxName = 200

// maxTimers bounds the timers of a process.
const maxTimers = 10_000

var (
	errName     = errors.New("a name has 1 to 200 bytes")
	errTimers   = errors.New("there are 10,000 timers already")
	errNoAnswer = errors.New("nobody waits for this answer")
)

// obey does what a frame says. p may be the process that gets the events, one
// that is about to, or one that is about to leave.
func (h *handler) obey(p *proc, f wire.Frame) {
	var err error
	switch f.Op {
	case wire.Held:
		err = h.held(p, f)
	case wire.Send, wire.End, wire.Pause, wire.GoOn, wire.Session, wire.Join, wire.Leave, wire.Bind:
		h.part(f)
		if c := h.clients.Find(h.w, f.Conn); c != nil {
			err = h.about1(p, c, f)
		}
	case wire.Many:
		err = h.many(f)
	case wire.All:
		err = h.w.Broadcast(message(f.Flags, f.Payload), h.but(f.Conn)...)
	case wire.Publish:
		err = h.publish(f)
	case wire.Done:
		h.done(p, f.Conn)
	case wire.Order, wire.Call, wire.AskOpens:
		err = h.question(p, f)
	case wire.Subscribe:
		err = h.subscribe(p, f)
	case wire.Timer:
		err = h.timer(p, f)
	case wire.Respond:
		err = h.respond(f)
	case wire.Accept:
		err = h.accept(f)
	case wire.Reply:
		err = h.reply(f)
	case wire.Files:
		h.loads(p, f.Payload)
	case wire.Poison, wire.Carry, wire.Bye:
		err = h.lastWord(p, f)
	}
	if err != nil && !errors.Is(err, worker.ErrClosed) {
		h.note("an order is not carried out", f, err)
	}
}

func message(flags byte, data []byte) worker.Message {
	return worker.Message{Data: data, Binary: flags&wire.Binary != 0}
}

// about1 is an order for one connection.
func (h *handler) about1(p *proc, c *worker.Conn, f wire.Frame) error {
	switch f.Op {
	case wire.Send:
		return c.Send(message(f.Flags, f.Payload))
	case wire.End:
		if f.Aux == 1012 && h.spread[f.Conn] != nil { // by and by, as for all whom that process has cost their connection
			h.endedBy(p, c)
			return nil
		}
		if len(h.passed) > 0 && f.Aux == 1012 && !h.ended[f.Conn] { // what was carried of it has no place in the new code
			h.lost.held++
			h.excuse(c, nethttp.StatusServiceUnavailable)
		}
		h.endedBy(p, c)
		c.Close(closeCode(f.Aux), reason(f.Payload))
	case wire.Pause:
		c.PauseRead()
		h.mark(p, c, toldPaused, true)
	case wire.GoOn:
		c.ResumeRead()
		h.mark(p, c, toldPaused, false)
	case wire.Session:
		return h.session(p, c, f.Payload)
	case wire.Join, wire.Leave:
		return member(c, f)
	case wire.Bind:
		return bind(c, string(f.Payload))
	}
	return nil
}

// session keeps a session. One that is too long takes the former one away, which holds no
// more: only the process knows the connection then.
func (h *handler) session(p *proc, c *worker.Conn, text []byte) error {
	if len(text) > wire.MaxSession {
		h.mark(p, c, toldHeld, true)
		_ = c.Set(sessionKey, "")
		return fmt.Errorf("a session has %d bytes, and %d at most: its connection is held by the process from now on", len(text), wire.MaxSession)
	}
	return c.Set(sessionKey, string(text))
}

// bind takes the names that the API takes too: nobody could send to another one.
func bind(c *worker.Conn, uid string) error {
	if uid != "" {
		if err := order.CheckName(uid); err != nil {
			return fmt.Errorf("uid %w", err)
		}
	}
	c.Bind(uid)
	return nil
}

// endedBy notes that a process closes a connection that it knows: nobody holds it any more.
func (h *handler) endedBy(p *proc, c *worker.Conn) {
	if _, known := h.told[c.Number()]; known {
		h.ended[c.Number()] = true
	}
	h.mark(p, c, toldHeld, false)
}

func member(c *worker.Conn, f wire.Frame) error {
	if len(f.Payload) == 0 || len(f.Payload) > maxName {
		return errName
	}
	if f.Op == wire.Join {
		c.Join(string(f.Payload))
	} else {
		c.Leave(string(f.Payload))
	}
	return nil
}

// mark notes something about a connection that the process knows.
func (h *handler) mark(p *proc, c *worker.Conn, what told, on bool) {
	h.markNumber(p, c.Number(), what, on)
}

func (h *handler) markNumber(p *proc, n uint64, what told, on bool) {
	t, known := h.told[n]
	if !known || p != h.cur {
		return
	}
	if h.told[n] = t &^ what; on {
		h.told[n] = t | what
	}
}

// held notes which connections end with this process: one, or a list.
func (h *handler) held(p *proc, f wire.Frame) error {
	var conns wire.Numbers
	if f.Conn == 0 {
		var err error
		if conns, err = wire.ParseHeld(f.Payload); err != nil {
			return err
		}
	}
	on := f.Flags&wire.On != 0
	h.markNumber(p, f.Conn, toldHeld, on)
	for i := range conns.Len() {
		h.markNumber(p, conns.At(i), toldHeld, on)
	}
	return nil
}

// closeCode is 1000 where none is given. Which others may be sent Conn.Close says, to which
// these mean a frame without a code.
func closeCode(code uint16) int {
	switch code {
	case 0:
		return 1000
	case 1005, 1006, 1015:
		return 1011
	}
	return int(code)
}

func reason(p []byte) string {
	if len(p) > 123 {
		p = p[:123]
		for len(p) > 0 && p[len(p)-1]&0xc0 == 0x80 {
			p = p[:len(p)-1]
		}
		if len(p) > 0 && p[len(p)-1] >= 0xc0 {
			p = p[:len(p)-1]
		}
	}
	return string(p)
}

// many sends one message to several.
func (h *handler) many(f wire.Frame) error {
	conns, data, err := wire.ParseMany(f.Payload)
	if err != nil {
		return err
	}
	var to []*worker.Conn
	for i := range conns.Len() {
		if c := h.clients.Find(h.w, conns.At(i)); c != nil {
			to = append(to, c)
		}
	}
	return h.w.SendMany(to, message(f.Flags, data))
}

// but leaves out a connection of this process.
func (h *handler) but(n uint64) []worker.Option {
	if n == 0 {
		return nil
	}
	if c := h.clients.Find(h.w, n); c != nil {
		return []worker.Option{worker.Except(c)}
	}
	return nil
}

func (h *handler) publish(f wire.Frame) error {
	name, data, err := wire.ParseNamed(f.Op, f.Payload)
	switch {
	case err != nil:
		return err
	case len(name) == 0 || len(name) > maxName:
		return errName
	}
	return h.w.Publish(string(name), message(f.Flags, data), h.but(f.Conn)...)
}

// subscribe makes the process a member of a channel.
func (h *handler) subscribe(p *proc, f wire.Frame) error {
	name := string(f.Payload)
	if name == "" || len(name) > maxName {
		return errName
	}
	stop, on := p.channels[name]
	switch want := f.Flags&wire.On != 0; {
	case want && !on:
		p.channels[name] = h.w.On(name, func(m worker.Message) {
			if p == h.cur {
				f := wire.Frame{Op: wire.Channel}
				if m.Binary {
					f.Flags = wire.Binary
				}
				h.next = wire.AppendNamed(h.next, f, name, m.Data)
				h.kick()
			}
		})
	case !want && on:
		stop()
		delete(p.channels, name)
	}
	return nil
}

// timer sets or ends a timer of the process.
func (h *handler) timer(p *proc, f wire.Frame) error {
	ms, err := wire.ParseCount(f.Op, f.Payload)
	if err != nil {
		return err
	}
	if t := p.timers[f.Conn]; t != nil {
		t.Stop()
		delete(p.timers, f.Conn)
	}
	switch d := time.Duration(ms) * time.Millisecond; {
	case ms == 0:
	case len(p.timers) >= maxTimers:
		return errTimers
	case f.Flags&wire.On != 0:
		p.timers[f.Conn] = h.w.Every(d, func() { h.alarm(p, f.Conn) })
	default:
		p.timers[f.Conn] = h.w.After(d, func() {
			delete(p.timers, f.Conn)
			h.alarm(p, f.Conn)
		})
	}
	return nil
}

// alarm tells of a timer. One of a process that is slow does not pile up.
func (h *handler) alarm(p *proc, n uint64) {
	if p == h.cur && !h.refuses() {
		h.next = wire.Frame{Op: wire.Alarm, Conn: n}.Append(h.next)
		h.kick()
	}
}

// reply sends a datagram.
func (h *handler) reply(f wire.Frame) error {
	remote, local, data, err := wire.ParsePacket(f.Op, f.Payload)
	if err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(remote)
	if err != nil {
		return err
	}
	return h.w.SendPacket(local, to, data)
}

// lastWord is what a process says that is about to end.
func (h *handler) lastWord(p *proc, f wire.Frame) error {
	switch f.Op {
	case wire.Poison:
		done, err := wire.ParseCount(f.Op, f.Payload)
		if err != nil {
			return err
		}
		p.poison = &poison{conn: f.Conn, done: int(done)}
	case wire.Carry:
		if _, _, err := wire.ParseCarry(f.Payload); err != nil {
			return err
		}
		p.carry = append([]byte{}, f.Payload...)
	case wire.Bye:
		p.link.Close()
	}
	return nil
}
