package pushdtest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// WebSocket opcodes and close codes that tests ask for.
const (
	OpText   = 1
	OpBinary = 2
	OpClose  = 8
	OpPing   = 9
	OpPong   = 10
)

// Client is a WebSocket client that takes what comes as it comes. Failures end
// the test; it may be used by one goroutine at a time.
type Client struct {
	Response *http.Response // of the handshake
	Conn     net.Conn
	NoPongs  bool // pings are not answered

	t testing.TB
	r *bufio.Reader
}

// Dial connects a WebSocket client to the server's port; header lines such as
// "Origin: http://x" are added to the request. It is closed when the test ends.
func (s *Server) Dial(path string, header ...string) *Client {
	s.t.Helper()
	return Dial(s.t, s.Address(), path, header...)
}

// Address is where clients are to connect to: what Knock and Dial take.
func (s *Server) Address() string {
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	if s.Secure {
		return secure + addr
	}
	return addr
}

// secure stands before addresses of TLS.
const secure = "tls://"

// Dial is Server.Dial for any address. Anything but 101 fails the test.
func Dial(t testing.TB, addr, path string, header ...string) *Client {
	t.Helper()
	c := Handshake(t, addr, path, header...)
	if c.Response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(c.Response.Body)
		t.Fatalf("handshake %s%s: %s\n%s", addr, path, c.Response.Status, body)
	}
	return c
}

// Handshake asks for a WebSocket and returns whatever the answer is.
func Handshake(t testing.TB, addr, path string, header ...string) *Client {
	t.Helper()
	c, err := Knock(addr, path, header...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Conn.Close() })
	c.t = t
	return c
}

// Knock is Handshake for any goroutine: it returns what goes wrong. The caller
// closes Conn, and uses Next and Try only.
func Knock(addr, path string, header ...string) (*Client, error) {
	addr, overTLS := strings.CutPrefix(addr, secure)
	conn, err := net.DialTimeout("tcp", addr, Timeout)
	if err != nil {
		return nil, err
	}
	if overTLS {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	var key [16]byte
	rand.Read(key[:])
	lines := append([]string{
		"GET " + path + " HTTP/1.1", "Host: " + addr, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(key[:]),
	}, header...)
	conn.SetDeadline(time.Now().Add(Timeout))
	c := &Client{Conn: conn, r: bufio.NewReader(conn)}
	if _, err = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err == nil {
		c.Response, err = http.ReadResponse(c.r, nil)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake %s%s: %w", addr, path, err)
	}
	return c, nil
}

// Send sends one unfragmented frame.
func (c *Client) Send(op byte, payload []byte) {
	c.t.Helper()
	if err := c.Try(op, payload); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// Try is Send for any goroutine.
func (c *Client) Try(op byte, payload []byte) error {
	frame := Frame(op, payload)
	c.Conn.SetWriteDeadline(time.Now().Add(Timeout))
	_, err := c.Conn.Write(frame)
	return err
}

// Frame encodes an unfragmented frame as clients send it.
func Frame(op byte, payload []byte) []byte { return testkit.Frame(0x80|op, payload) }

// SendText sends a text message.
func (c *Client) SendText(s string) { c.t.Helper(); c.Send(OpText, []byte(s)) }

// Next returns the next frame that is no ping, which it answers. An error is
// io.EOF after the end of the connection.
func (c *Client) Next(timeout time.Duration) (op byte, payload []byte, err error) {
	c.Conn.SetReadDeadline(time.Now().Add(timeout))
	for {
		op, payload, err = c.frame()
		if err != nil || op != OpPing {
			return op, payload, err
		}
		if c.NoPongs {
			continue
		}
		if err := c.Try(OpPong, payload); err != nil {
			return 0, nil, err
		}
	}
}

func (c *Client) frame() (op byte, payload []byte, err error) {
	first, payload, err := testkit.ReadFrame(c.r)
	if err == nil && first&0xf0 != 0x80 {
		return 0, nil, fmt.Errorf("frame begins with %x", first)
	}
	return first & 0x0f, payload, err
}

// Read returns the next message, text or binary. Anything else fails the test.
func (c *Client) Read() (op byte, payload []byte) {
	c.t.Helper()
	op, payload, err := c.Next(Timeout)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	if op != OpText && op != OpBinary {
		c.t.Fatalf("read: frame with opcode %d, %q", op, payload)
	}
	return op, payload
}

// WantText fails the test unless the next message is this text.
func (c *Client) WantText(want string) {
	c.t.Helper()
	if op, got := c.Read(); op != OpText || string(got) != want {
		c.t.Fatalf("got opcode %d %q, want text %q", op, got, want)
	}
}

// WantClose fails the test unless the next frame closes with this code.
func (c *Client) WantClose(code int) {
	c.t.Helper()
	op, payload, err := c.Next(Timeout)
	if err != nil || op != OpClose || len(payload) < 2 || int(binary.BigEndian.Uint16(payload)) != code {
		c.t.Fatalf("got opcode %d %q, %v; want close %d", op, payload, err, code)
	}
}

// Goodbye waits for the server's close frame, answers it, and says what came
// instead of one with that code. Any goroutine.
func (c *Client) Goodbye(code int) error {
	op, payload, err := c.Next(2 * Timeout)
	switch {
	case err != nil:
		return fmt.Errorf("no goodbye: %w", err)
	case op != OpClose || len(payload) < 2 || int(binary.BigEndian.Uint16(payload)) != code:
		return fmt.Errorf("opcode %d %q instead of close %d", op, payload, code)
	}
	return c.Try(OpClose, payload[:2])
}

// Close closes in an orderly way: it sends the close frame and waits for the
// server's.
func (c *Client) Close() {
	c.t.Helper()
	c.Send(OpClose, []byte{3, 232}) // 1000
	for {
		op, _, err := c.Next(Timeout)
		if err != nil {
			c.t.Fatalf("close: %v", err)
		}
		if op == OpClose {
			break
		}
	}
	c.Conn.Close()
}

// Post asks the server's HTTP API and returns the status and the JSON object of
// the answer.
func (s *Server) Post(path string, body any) (status int, answer map[string]any) {
	s.t.Helper()
	return s.Do(http.MethodPost, path, body)
}

// Do is Post with another method; a body of nil is none.
func (s *Server) Do(method, path string, body any) (status int, answer map[string]any) {
	s.t.Helper()
	var raw []byte
	var err error
	if body != nil {
		if raw, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, "http://"+s.API+path, bytes.NewReader(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.Key)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: Timeout}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		s.t.Fatalf("%s: %s: %v", path, res.Status, err)
	}
	return res.StatusCode, answer
}
