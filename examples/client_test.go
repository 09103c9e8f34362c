package examples

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Opcodes of WebSocket frames.
const (
	text   = 0x1
	binMsg = 0x2
	closes = 0x8
	ping   = 0x9
	pong   = 0xA
)

// client is a WebSocket client that keeps nothing to itself: it hands out
// frames as the bytes that came.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// upgrade asks for a WebSocket and returns the answer, whatever it is.
func upgrade(t *testing.T, addr, path string, headers ...string) (*client, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(3*patience)))
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	_, err = io.WriteString(conn, request+"\r\n")
	must(t, err)
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
	res, err := http.ReadResponse(c.r, nil)
	must(t, err)
	return c, res
}

// dial opens a WebSocket.
func dial(t *testing.T, addr, path string) *client {
	t.Helper()
	c, res := upgrade(t, addr, path)
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake with %s%s: %s %v", addr, path, res.Status, res.Header)
	}
	return c
}

// frame is a whole frame as a server sends it.
func frame(op byte, payload string) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return append(b, payload...)
}

// send writes a masked frame.
func (c *client) send(op byte, payload string) {
	c.t.Helper()
	b := frame(op, payload)
	head := len(b) - len(payload)
	b[1] |= 0x80
	mask := [4]byte{1, 2, 3, 4}
	masked := append(b[:head:head], mask[:]...)
	for i := range len(payload) {
		masked = append(masked, payload[i]^mask[i%4])
	}
	_, err := c.conn.Write(masked)
	must(c.t, err)
}

// next reads one frame.
func (c *client) next() []byte {
	c.t.Helper()
	b := make([]byte, 2)
	_, err := io.ReadFull(c.r, b)
	must(c.t, err)
	n := int(b[1])
	if n == 126 {
		b = append(b, 0, 0)
		_, err = io.ReadFull(c.r, b[2:])
		must(c.t, err)
		n = int(binary.BigEndian.Uint16(b[2:]))
	}
	if n > 1<<16 {
		c.t.Fatalf("frame begins with % x", b)
	}
	payload := make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	must(c.t, err)
	return append(b, payload...)
}

// expect compares the next frame byte for byte.
func (c *client) expect(op byte, payload string) {
	c.t.Helper()
	if got, want := c.next(), frame(op, payload); !bytes.Equal(got, want) {
		c.t.Fatalf("got  % x %q\nwant % x %q", got, got, want, want)
	}
}

// settled has the server answer a ping: all that the client sent before it has
// been through the callbacks.
func (c *client) settled() {
	c.t.Helper()
	c.send(ping, "are you there?")
	c.expect(pong, "are you there?")
}

// leave closes in order and fails if anything but the goodbye comes.
func (c *client) leave() {
	c.t.Helper()
	bye := "\x03\xe8" // 1000
	c.send(closes, bye)
	c.expect(closes, bye)
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("after the close frame came % x, %v", rest, err)
	}
}

// dialEach opens n connections to each process of a group, by stopping the
// others for as long as that takes. The program runs with its watchdog off.
func (p *program) dialEach(group, path string, n int) (bySlot [][]*client) {
	p.t.Helper()
	pids := p.workers(group)
	for slot := range pids {
		var clients []*client
		p.alone(pids, slot, func() {
			for range n {
				clients = append(clients, dial(p.t, p.addr, path))
			}
		})
		bySlot = append(bySlot, clients)
	}
	return bySlot
}

// alone runs fn while of pids only that of slot is running.
func (p *program) alone(pids []int, slot int, fn func()) {
	p.t.Helper()
	for i, pid := range pids {
		if i != slot {
			must(p.t, syscall.Kill(pid, syscall.SIGSTOP))
			defer syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	for i, pid := range pids {
		for begun := time.Now(); i != slot && !stopped(pid); {
			if time.Since(begun) > patience {
				p.t.Fatalf("process %d does not stop", pid)
			}
		}
	}
	fn()
}

// stopped reports whether all threads of a process have stopped.
func stopped(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, f := range files {
		stat, err := os.ReadFile(f)
		_, state, ok := strings.Cut(string(stat), ") ")
		if err != nil || !ok || state[0] != 'T' {
			return false
		}
	}
	return len(files) > 0
}

// get fetches a page.
func get(t *testing.T, addr, path string) (*http.Response, string) {
	t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + addr + path)
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return res, string(body)
}
