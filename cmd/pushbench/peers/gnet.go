package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
)

// The least that does the work on event loops, and so the measure for pushd:
// no heartbeat, no limits, no queue, no fragments, no bus. A message is encoded
// once, and each loop writes it to its own members.
func gnetServer(addr string, loops int, ready func()) error {
	return gnet.Run(&gnetHandler{ready: ready}, "tcp://"+addr, gnet.WithNumEventLoop(loops), gnet.WithLogger(gnetQuiet{}))
}

// gnetQuiet keeps gnet's own words off the standard output.
type gnetQuiet struct{}

func (gnetQuiet) Debugf(string, ...any) {}
func (gnetQuiet) Infof(string, ...any)  {}
func (gnetQuiet) Warnf(string, ...any)  {}
func (gnetQuiet) Errorf(string, ...any) {}
func (gnetQuiet) Fatalf(string, ...any) {}

type gnetHandler struct {
	gnet.BuiltinEventEngine
	ready func()

	mu    sync.Mutex
	loops map[gnet.EventLoop]*gnetLoop
}

// gnetLoop is the members of one loop. After it was made only that loop uses it.
type gnetLoop struct{ rooms map[string]*gnetRoom }

// gnetRoom is a loop's part of a room.
type gnetRoom struct {
	name    string
	members []gnet.Conn
}

// gnetSession is a connection's context once it is upgraded.
type gnetSession struct {
	room *gnetRoom // nil: echo
	at   int       // index among the members
}

func (h *gnetHandler) OnBoot(gnet.Engine) gnet.Action {
	h.loops = map[gnet.EventLoop]*gnetLoop{}
	h.ready()
	return gnet.None
}

func (h *gnetHandler) OnTraffic(c gnet.Conn) gnet.Action {
	in, _ := c.Peek(-1)
	used := 0
	s, ok := c.Context().(*gnetSession)
	if !ok {
		var err error
		if s, used, err = h.upgrade(c, in); err != nil {
			return gnet.Close
		} else if s == nil {
			return gnet.None
		}
	}
	var out []byte // answers of one turn go out together
	action := gnet.None
	for used < len(in) {
		op, payload, n, ok := gnetFrame(in[used:])
		if n == 0 {
			break
		}
		used += n
		if !ok || op == ws.OpClose {
			out, action = append(out, ws.CompiledCloseNormalClosure...), gnet.Close
			break
		}
		out = h.message(c, s, op, payload, out)
	}
	if used > 0 { // Discard(0) means everything
		_, _ = c.Discard(used)
	}
	if len(out) > 0 {
		_, _ = c.Write(out)
	}
	return action
}

// message handles one frame and appends its answer to out.
func (h *gnetHandler) message(c gnet.Conn, s *gnetSession, op ws.OpCode, payload, out []byte) []byte {
	switch {
	case op == ws.OpPing:
		return gnetAppend(out, ws.OpPong, payload)
	case op == ws.OpPong:
		return out
	case s.room == nil:
		return gnetAppend(out, op, payload)
	}
	h.fanOut(c, s.room.name, gnetAppend(nil, op, payload))
	return out
}

// upgrade answers the handshake at the start of in, once it is complete, and
// returns how many bytes it had.
func (h *gnetHandler) upgrade(c gnet.Conn, in []byte) (*gnetSession, int, error) {
	end := bytes.Index(in, []byte("\r\n\r\n")) + 4
	if end < 4 {
		return nil, 0, nil
	}
	chat, name, err := upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(in[:end]), c})
	if err != nil {
		return nil, 0, err
	}
	s := &gnetSession{}
	if chat {
		s.room = h.loop(c.EventLoop()).room(name)
		s.at = len(s.room.members)
		s.room.members = append(s.room.members, c)
	}
	c.SetContext(s)
	return s, end, nil
}

func (h *gnetHandler) OnClose(c gnet.Conn, _ error) gnet.Action {
	if s, ok := c.Context().(*gnetSession); ok && s.room != nil {
		last := len(s.room.members) - 1
		moved := s.room.members[last]
		s.room.members[s.at] = moved
		moved.Context().(*gnetSession).at = s.at
		s.room.members = s.room.members[:last]
	}
	return gnet.None
}

// fanOut writes the frame to everyone in the room but c, each loop to its own.
func (h *gnetHandler) fanOut(c gnet.Conn, name string, frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for loop, members := range h.loops {
		if loop == c.EventLoop() {
			members.send(name, c, frame)
			continue
		}
		_ = loop.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
			members.send(name, nil, frame)
			return nil
		}))
	}
}

func (h *gnetHandler) loop(of gnet.EventLoop) *gnetLoop {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loops[of] == nil {
		h.loops[of] = &gnetLoop{rooms: map[string]*gnetRoom{}}
	}
	return h.loops[of]
}

func (l *gnetLoop) room(name string) *gnetRoom {
	if l.rooms[name] == nil {
		l.rooms[name] = &gnetRoom{name: name}
	}
	return l.rooms[name]
}

// send goes backwards, since a write that fails takes its member out.
func (l *gnetLoop) send(name string, except gnet.Conn, frame []byte) {
	room := l.rooms[name]
	if room == nil {
		return
	}
	for i := len(room.members) - 1; i >= 0; i-- {
		if member := room.members[i]; member != except {
			_, _ = member.Write(frame)
		}
	}
}

// gnetFrame decodes the frame at the start of b in place. n is its length, 0
// while it is incomplete; ok is false for one that this server does not take.
func gnetFrame(b []byte) (op ws.OpCode, payload []byte, n int, ok bool) {
	if len(b) < 2 {
		return 0, nil, 0, false
	}
	length, head := int(b[1]&0x7f), 2
	switch {
	case b[0]&0xf0 != 0x80 || b[1]&0x80 == 0 || length == 127:
		return 0, nil, len(b), false // a fragment, unmasked, or over 64 KiB
	case length == 126 && len(b) < 4:
		return 0, nil, 0, false
	case length == 126:
		length, head = int(binary.BigEndian.Uint16(b[2:])), 4
	}
	if n = head + 4 + length; len(b) < n {
		return 0, nil, 0, false
	}
	payload = b[head+4 : n]
	ws.Cipher(payload, [4]byte(b[head:]), 0)
	return ws.OpCode(b[0] & 0x0f), payload, n, true
}

// gnetAppend appends an unmasked frame of at most 64 KiB.
func gnetAppend(b []byte, op ws.OpCode, payload []byte) []byte {
	b = append(b, 0x80|byte(op))
	if len(payload) < 126 {
		b = append(b, byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(len(payload)))
	}
	return append(b, payload...)
}
