package main_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

const guarded = `
drain = "100ms"
[[worker]]
name = "push"
listen = ["websocket://127.0.0.1:{{port}}", "text://%s"]
count = 2
handler = "echo"
routes = { "/echo" = "echo", "/chat" = "chat" }
compression = true
ping_interval = "2s"
ping_timeout = "1s"
limits = { handshake_timeout = "2s" }
`

// enough is a bound for how long a peer lives whose limit is 2 or 3 s: deadlines
// are looked at once a second, and the machine has other work. It is less than
// the defaults, 10 and 65 s.
const enough = 9 * time.Second

// hostile peers, each with what must become of it.
var hostile = []struct {
	name string
	play func(t *testing.T, addr string) error
}{
	{"silence", func(t *testing.T, addr string) error { return answered(t, addr, "", nil, "") }},
	{"dribbled header", func(t *testing.T, addr string) error {
		return answered(t, addr, "GET /echo HTTP/1.1\r\nX: ", dribble, "408")
	}},
	{"dribbled body", func(t *testing.T, addr string) error {
		return answered(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", dribble, "408")
	}},
	{"dribbled chunk", func(t *testing.T, addr string) error {
		return answered(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n1;", dribble, "408")
	}},
	{"tiny chunks", func(t *testing.T, addr string) error {
		return answered(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\na\r\n", 20_000), nil, "413")
	}},
	{"endless header", func(t *testing.T, addr string) error {
		return answered(t, addr, "GET /echo HTTP/1.1\r\nX: "+strings.Repeat("x", 9<<10), nil, "431")
	}},
	{"many headers", func(t *testing.T, addr string) error {
		return answered(t, addr, "GET /echo HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("X: y\r\n", 200)+"\r\n", nil, "431")
	}},
	{"pings", flood(1008, bytes.Repeat(raw(0x89, nil), 500))},
	{"pongs", flood(1008, bytes.Repeat(raw(0x8a, nil), 500))},
	{"fragments", flood(1008, append(raw(0x01, nil), bytes.Repeat(raw(0x00, nil), 2000)...))},
	{"giant message", flood(1009, append(raw(0x02, make([]byte, 60<<10)), raw(0x00, make([]byte, 60<<10))...))},
	{"giant announced", flood(1009, []byte{0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4})},
	{"impossible length", flood(1002, []byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})},
	{"deflate bomb", flood(1009, raw(0xc1, bomb(8<<20)))},
}

// TestHostilePeers: all at once, five of each, under the standing load, which
// must not notice.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	lines := pushdtest.FreeAddr(t)
	s := pushdtest.Start(t, pushdtest.Options{Config: fmt.Sprintf(guarded, lines)})
	l := stand(t, s, "--slow-bytes", "20000") // fast enough to answer pings
	t.Run("peers", func(t *testing.T) {
		t.Run("of all kinds", func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			for _, h := range hostile {
				for range 5 {
					all.Go(func() {
						if err := h.play(t, fmt.Sprintf("127.0.0.1:%d", s.Port)); err != nil {
							t.Errorf("%s: %v", h.name, err)
						}
					})
				}
			}
			all.Wait()
		})
		for name, play := range map[string]func(*testing.T, *pushdtest.Server) net.Conn{
			"half-open WebSocket": halfOpen, "half-open with unsent data": halfOpenOwed,
			"half-open line protocol": func(t *testing.T, _ *pushdtest.Server) net.Conn { return halfOpenLines(t, lines) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				addr := play(t, s).LocalAddr().String()
				knows := func() bool {
					return slices.ContainsFunc(listing(t, s, ""), func(c listed) bool { return c.addr() == addr })
				}
				if !knows() {
					t.Fatal("the server has never known the peer")
				}
				defer func() {
					if t.Failed() {
						t.Logf("it is %s of\n%s", addr, s.MustRun("connections", "--json"))
					}
				}()
				began := time.Now()
				pushdtest.Eventually(t, "it is gone", func() bool { return !knows() })
				if took := time.Since(began); took > enough {
					t.Errorf("it was there for %s", took)
				}
			})
		}
	})
	l.end()
	pushdtest.Eventually(t, "nobody is left", func() bool { return s.Status().Connections() == 0 })
}

// answered connects, sends, goes on with more, and wants this status, "" = none,
// and the end of the stream.
func answered(t *testing.T, addr, send string, more func(net.Conn), status string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(enough))
	fmt.Fprint(conn, send)
	if more != nil {
		go more(conn)
	}
	in := bufio.NewReader(conn)
	if status != "" {
		res, err := http.ReadResponse(in, nil)
		if err != nil || !strings.HasPrefix(res.Status, status) {
			return fmt.Errorf("got %v, %v; want %s", res, err, status)
		}
		return nil
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		return fmt.Errorf("got %q, %v; want the end", rest, err)
	}
	return nil
}

// dribble sends a byte now and then until it is not wanted any more.
func dribble(conn net.Conn) {
	for {
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// flood sends frames after a handshake and wants the connection closed.
func flood(code uint16, frames []byte) func(*testing.T, string) error {
	return func(_ *testing.T, addr string) error {
		conn, err := knock(addr, "/echo HTTP/1.1\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Rest:")
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(enough))
		in := bufio.NewReader(conn)
		if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("handshake: %v %w", res, err)
		}
		go conn.Write(frames)
		for {
			head := make([]byte, 2)
			if _, err := io.ReadFull(in, head); err != nil {
				return fmt.Errorf("want close %d: %w", code, err)
			}
			payload := make([]byte, head[1]) // only answers to pings come, and the close frame: all short
			if _, err := io.ReadFull(in, payload); err != nil {
				return err
			}
			if head[0] != 0x88 {
				continue
			}
			if got := binary.BigEndian.Uint16(payload); got != code {
				return fmt.Errorf("closed with %d %q, want %d", got, payload[2:], code)
			}
			return nil
		}
	}
}

// raw is a client's frame; its mask is 0.
func raw(first byte, payload []byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	default:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

// bomb is a compressed message of so many zeros.
func bomb(size int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(make([]byte, size))
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// vanish makes the kernel drop all that comes for the socket: its peer sees a
// host that has lost its network, without a FIN, a reset or an acknowledgement.
func vanish(t *testing.T, conn net.Conn) {
	t.Helper()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dropAll := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := unix.SockFprog{Len: 1, Filter: &dropAll[0]}
	if err := unix.SetsockoptSockFprog(int(file.Fd()), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		t.Fatal(err)
	}
}

func halfOpen(t *testing.T, s *pushdtest.Server) net.Conn {
	c := s.Dial("/echo")
	vanish(t, c.Conn)
	return c.Conn
}

// halfOpenOwed is one for which the server has more than its socket takes.
func halfOpenOwed(t *testing.T, s *pushdtest.Server) net.Conn {
	c := s.Dial("/echo")
	for range 200 {
		c.Send(pushdtest.OpBinary, make([]byte, 2<<10))
	}
	vanish(t, c.Conn)
	return c.Conn
}

func halfOpenLines(t *testing.T, addr string) net.Conn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(pushdtest.Timeout))
	fmt.Fprintln(conn, "hello")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	vanish(t, conn)
	return conn
}

// TestPathsOfAttack: requests that were worked on for seconds, and bodies that
// were parsed anew with each byte, are no burden: the same workers go on, and who
// is served is served.
func TestPathsOfAttack(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: `
watchdog = "2s"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 1
`})
	before := s.Status().Workers[0].PID
	honest := s.Dial("/echo")
	paths := strings.Repeat("POST "+strings.Repeat("/apps/", 1350)+"x HTTP/1.1\r\nHost: a\r\n\r\n", 8)
	query := strings.Repeat("POST /apps/a/events?"+strings.Repeat("a&", 4000)+" HTTP/1.1\r\nHost: a\r\n\r\n", 8)
	body := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10\r\n"+strings.Repeat("a", 16)+"\r\n", 3000)
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	for _, attack := range []string{paths, query, body} {
		for range 16 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() { // nobody reads the answers
				if _, err := conn.Write([]byte(attack)); err == nil && attack == body {
					for range 200 {
						_, _ = conn.Write([]byte("0"))
					}
				}
			}()
		}
	}
	for i := range 200 {
		text := fmt.Sprint(i)
		honest.SendText(text)
		honest.WantText(text)
	}
	if st := s.Status().Workers[0]; st.PID != before || st.Restarts != 0 {
		t.Errorf("worker %d has become %d, %d restarts", before, st.PID, st.Restarts)
	}
}
