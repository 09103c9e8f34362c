package workertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/reactor"
)

// Client is one client of a Server: a WebSocket, or a stream of bytes.
type Client struct {
	// Silent makes it answer neither pings nor a close.
	Silent bool
	// Pings counts what it has got of them.
	Pings int

	s       *Server
	sock    *reactor.Socket[*worker.Conn]
	raw     []byte // received and not looked at
	framed  bool   // the handshake is over: raw holds frames
	status  int    // of the answer to the handshake, 0 = none yet
	header  http.Header
	got     []worker.Message
	code    int // of the close frame, 0 = none
	reason  string
	dropped bool
}

// connect makes a client of the listener with that number, in the order of
// Worker.Listen. Each has an address of its own.
func (s *Server) connect(listener int) *Client {
	s.t.Helper()
	n := len(s.clients) + 1
	peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), uint16(1024+n%60000))
	c := &Client{s: s, sock: s.mem.Accept(listener, peer)}
	if c.sock == nil {
		s.t.Fatal("workertest: the client is refused: the worker has stopped, or has no room")
	}
	s.clients = append(s.clients, c)
	return c
}

// Stream connects a client of bytes to the listener with that number, in the
// order of Worker.Listen: for text://, frame://, tcp:// and protocols of one's
// own. Write and Bytes are for it.
func (s *Server) Stream(listener int) *Client {
	s.t.Helper()
	c := s.connect(listener)
	s.settle()
	return c
}

// Write sends bytes as they are.
func (c *Client) Write(b []byte) {
	c.sock.Send(b)
	c.s.settle()
}

// Bytes returns what a Stream has received since the last call.
func (c *Client) Bytes() []byte {
	c.s.settle()
	b := c.raw
	c.raw = nil
	return b
}

// Handshake asks for a WebSocket at target, a path with or without a query, and
// with headers "Name: value". Status tells the answer.
func (s *Server) Handshake(target string, headers ...string) *Client {
	s.t.Helper()
	c := s.connect(0)
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: example.com", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, headers...)
	c.sock.Send([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	s.settle()
	return c
}

// Dial is Handshake of a client that must be let in.
func (s *Server) Dial(target string, headers ...string) *Client {
	s.t.Helper()
	c := s.Handshake(target, headers...)
	s.Wait("the handshake", func() bool { return c.status != 0 || c.sock.Closed() })
	if c.status != http.StatusSwitchingProtocols {
		s.t.Fatalf("workertest: handshake at %s: status %d %s", target, c.status, c.raw)
	}
	return c
}

// Status is the answer to the handshake, 101 when it is let in, and 0 as long as
// there is none; header is what came with it.
func (c *Client) Status() (status int, header http.Header) {
	c.s.settle()
	return c.status, c.header
}

// work takes in what has arrived, and answers it as a client does. It reports
// whether there was anything.
func (c *Client) work() bool {
	b := c.sock.Take()
	if len(b) == 0 {
		return false
	}
	c.raw = append(c.raw, b...)
	if c.status == 0 && bytes.HasPrefix(c.raw, []byte("HTTP/1.1 ")) && !c.answered() {
		return true
	}
	for c.framed {
		first, payload, n := frame(c.raw)
		if n == 0 {
			break
		}
		c.raw = c.raw[n:]
		c.take(websocket.Op(first&0x0f), payload)
	}
	return true
}

// answered reads the answer to a handshake. That to a request is Request's.
func (c *Client) answered() bool {
	r := bufio.NewReader(bytes.NewReader(c.raw))
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return false // not whole yet
	}
	c.status, c.header = answer.StatusCode, answer.Header
	c.framed = c.status == http.StatusSwitchingProtocols
	if c.framed || c.header.Get("Content-Type") == "text/event-stream" {
		rest, _ := io.ReadAll(r)
		c.raw = rest
	}
	return true
}

func (c *Client) take(op websocket.Op, payload []byte) {
	switch op {
	case websocket.Text, websocket.Binary:
		c.got = append(c.got, worker.Message{Data: payload, Binary: op == websocket.Binary})
	case websocket.Ping:
		c.Pings++
		c.answer(websocket.Pong, payload)
	case websocket.Close:
		c.code = 1005
		if len(payload) >= 2 {
			c.code, c.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		}
		c.answer(websocket.Close, payload)
	}
}

func (c *Client) answer(op websocket.Op, payload []byte) {
	if !c.Silent && !c.dropped {
		c.sock.Send(masked(op, payload))
	}
}

// SendText sends a text message.
func (c *Client) SendText(s string) { c.send(websocket.Text, []byte(s)) }

// SendBinary sends a binary message.
func (c *Client) SendBinary(b []byte) { c.send(websocket.Binary, b) }

func (c *Client) send(op websocket.Op, payload []byte) {
	c.s.t.Helper()
	if !c.framed {
		c.s.t.Fatal("workertest: the client has no WebSocket")
	}
	c.sock.Send(masked(op, payload))
	c.s.settle()
}

// Read returns the next message. The test fails when there is none.
func (c *Client) Read() worker.Message {
	c.s.t.Helper()
	c.s.Wait("a message", func() bool { return len(c.got) > 0 || c.code != 0 || c.sock.Closed() })
	if len(c.got) == 0 {
		c.s.t.Fatalf("workertest: no message will come: the connection is closed (%d %s)", c.code, c.reason)
	}
	m := c.got[0]
	c.got = c.got[1:]
	return m
}

// WantText reads text messages and compares them.
func (c *Client) WantText(texts ...string) {
	c.s.t.Helper()
	for _, want := range texts {
		if m := c.Read(); m.Binary || m.String() != want {
			c.s.t.Fatalf("workertest: got %q (binary: %v), want the text %q", m.Data, m.Binary, want)
		}
	}
}

// WantNothing fails the test when there is a message that was not read.
func (c *Client) WantNothing() {
	c.s.t.Helper()
	if c.s.settle(); len(c.got) > 0 {
		c.s.t.Fatalf("workertest: got %q, want nothing", c.got[0].Data)
	}
}

// WantClose waits until the worker has closed the WebSocket and compares the code.
func (c *Client) WantClose(code int) (reason string) {
	c.s.t.Helper()
	c.s.Wait(fmt.Sprintf("the close with %d", code), func() bool { return c.code != 0 || c.sock.Closed() })
	if c.code != code {
		c.s.t.Fatalf("workertest: closed with %d %q, want %d", c.code, c.reason, code)
	}
	return c.reason
}

// Closed reports whether the worker has closed the connection.
func (c *Client) Closed() bool {
	c.s.settle()
	return c.sock.Closed()
}

// Close closes the WebSocket with a code, and hangs up.
func (c *Client) Close(code uint16) {
	c.sock.Send(masked(websocket.Close, binary.BigEndian.AppendUint16(nil, code)))
	c.s.settle()
	c.Drop()
}

// Drop hangs up without a word.
func (c *Client) Drop() {
	c.dropped = true
	c.sock.HangUp()
	c.s.settle()
}

// Stall makes the client read no more than n further bytes, so that what is sent
// to it is queued; Stall(-1) ends that.
func (c *Client) Stall(n int) {
	c.sock.Room(n)
	c.s.settle()
}

// masked is a frame as clients send it. A mask of zeros is one.
func masked(op websocket.Op, payload []byte) []byte {
	plain := websocket.AppendFrame(nil, op, payload)
	head := len(plain) - len(payload)
	plain[1] |= 0x80
	return append(append(plain[:head:head], 0, 0, 0, 0), payload...)
}

// frame reads the frame of a server at the beginning of b; n is 0 when it is not
// whole. Servers send whole messages, and none compressed that was not asked for.
func frame(b []byte) (first byte, payload []byte, n int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	head, size := 2, uint64(b[1])
	switch {
	case size == 126 && len(b) >= 4:
		head, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127 && len(b) >= 10:
		head, size = 10, binary.BigEndian.Uint64(b[2:])
	case size >= 126:
		return 0, nil, 0
	}
	if uint64(len(b)-head) < size {
		return 0, nil, 0
	}
	n = head + int(size)
	return b[0], bytes.Clone(b[head:n]), n
}

// readAll reports whether the body is whole, and leaves it to be read.
func readAll(r *http.Response) (whole bool, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true, nil
}
