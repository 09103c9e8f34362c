package worker

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// endOfSocket fails the test unless nothing but the end of the stream below TLS is
// left to read, though this side has not ended it.
func endOfSocket(t *testing.T, raw net.Conn) {
	t.Helper()
	if n, err := raw.Read(make([]byte, 64)); n != 0 || err != io.EOF {
		t.Errorf("%d bytes behind the last record, %v; want the end of the stream", n, err)
	}
}

// TestTLSCloseNotifyEnds: a client that has said that nothing follows is answered so,
// and its socket closed, though it leaves its own open.
func TestTLSCloseNotifyEnds(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, e := newEchoer(anyWSS)
		var cause error
		w.OnClose = func(_ *Conn, err error) { e.closes++; cause = err }
		s := serve(t, w)
		c := dial(t, s.addrs[0])
		raw := c.conn
		c.over(config).upgrade("/")
		c.text("last words")
		must(t, c.conn.(*tls.Conn).CloseWrite())
		c.want("last words")
		c.wantEOF() // close_notify
		endOfSocket(t, raw)
		s.eventually("it is gone", func() bool { return e.closes == 1 && w.loop.conns.len() == 0 })
		s.on(func() {
			if cause == nil || !strings.Contains(cause.Error(), "without a close frame") {
				t.Error(cause)
			}
		})
	})
}

// TestTLSCloseNotifyBehindHalf: what was whole is answered, and half a message ends with
// its client, as in the clear.
func TestTLSCloseNotifyBehindHalf(t *testing.T) {
	many := strings.Repeat("a\n", 4*turnMessages)
	for _, tc := range []struct{ name, listen, send, want string }{
		{"text", "text+tls://127.0.0.1:0", "a\nhal", "a\n"},
		{"several turns", "text+tls://127.0.0.1:0", many + "hal", many},
		{"frame", "frame+tls://127.0.0.1:0", "\x00\x00\x00\x05a\x00\x00", "\x00\x00\x00\x05a"},
		{"a request", anyWSS, "GET / HTTP/1.1\r\nHost: a\r\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			versions(t, func(t *testing.T, config *tls.Config) {
				w, _ := newEchoer(tc.listen)
				s := serve(t, w)
				c := dial(t, s.addrs[0])
				raw := c.conn
				c.over(config).write([]byte(tc.send))
				must(t, c.conn.(*tls.Conn).CloseWrite())
				if all, err := io.ReadAll(c.r); err != nil || string(all) != tc.want {
					t.Fatalf("got %q %v, want %q", all, err, tc.want)
				}
				endOfSocket(t, raw)
				s.eventually("it is gone", func() bool { return w.loop.conns.len() == 0 })
			})
		})
	}
}

// TestTLSCloseNotifyWaits: a client that has said all ends when what it has said may be
// worked on, also in another process.
func TestTLSCloseNotifyWaits(t *testing.T) {
	b := &testBus{}
	w, _ := newEchoer("text+tls://127.0.0.1:0")
	w.OnConnect = func(c *Conn) { c.PauseRead() }
	s := launch(t, w, b, nil)
	c := dial(t, s.addrs[0]).over(v13)
	s.eventually("it is in", func() bool { return w.CountConnections() == 1 && w.loop.conns.all[0].has(flagPaused) })
	c.write([]byte("a\nhal"))
	must(t, c.conn.(*tls.Conn).CloseWrite())
	next, _ := newEchoer("text+tls://127.0.0.1:0")
	s, report := s.replace(next, b)
	if report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	s.on(func() { next.loop.conns.all[0].ResumeRead() })
	c.wantBytes("a\n")
	c.wantEOF()
}

// TestTLSBrokenBehindHalfAFrame: the alert follows what is sealed already, and nothing
// follows the alert: neither the rest of the frame nor those behind it.
func TestTLSBrokenBehindHalfAFrame(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, e := newEchoer(anyWSS)
		w.Limits.MaxQueue = 1 << 30
		s := serve(t, w)
		c := dial(t, s.addrs[0])
		raw := c.conn
		c.over(config).upgrade("/")
		must(t, raw.SetDeadline(time.Now().Add(10*patience)))
		text := strings.Repeat("0123456789", 50_000)
		s.eventually("frames wait", func() bool {
			at := w.loop.conns.all[0]
			if at.out == nil || len(at.out.frames) <= 3 {
				_ = at.SendText(text)
			}
			return at.out != nil && len(at.out.frames) > 3
		})
		for partly := false; !partly; { // a socket may be full just behind a frame: then a little more goes out
			s.on(func() { partly = w.loop.conns.all[0].out.off > 0 })
			if !partly {
				_, err := io.CopyN(io.Discard, c.r, 10_000)
				must(t, err)
				s.eventually("frames wait", func() bool {
					at := w.loop.conns.all[0]
					_ = at.SendText(text)
					return len(at.out.frames) > 3
				})
			}
		}
		_, err := raw.Write(append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...))
		must(t, err)
		s.eventually("the alert is behind what is sealed", func() bool {
			at := w.loop.conns.all[0]
			return at.has(flagEnd) && at.out != nil && len(at.out.frames) == 0 && w.loop.counts.queueBytes == int64(len(at.out.sealed))
		})
		if _, err := io.Copy(io.Discard, c.r); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Error(err)
		}
		endOfSocket(t, raw)
		raw.Close()
		s.eventually("it is gone", func() bool { return e.closes == 1 && w.loop.counts.queueBytes == 0 })
	})
}
