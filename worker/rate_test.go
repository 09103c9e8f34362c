package worker

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// deflated is a message as a client sends it that has agreed on compression.
func deflated(t *testing.T, text string) []byte {
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	must(t, err)
	_, err = z.Write([]byte(text))
	must(t, err)
	must(t, z.Flush())
	return mask(0xc1, bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
}

// TestMaxRate: a client that sends more than the limit in one second gets what
// is within it delivered, and is ended at the message after that, before that is
// inflated or decoded.
func TestMaxRate(t *testing.T) {
	const limit = 5
	for _, x := range []struct {
		name, addr string
		within     string // one message
		beyond     string // the one too many
	}{
		{"frames", anyWS, string(mask(0x81, []byte("x"))), string(mask(0x82, []byte("x")))},
		{"of compressed ones", anyWS, string(deflated(t, "x")), string(mask(0xc1, []byte("\xff\xff\xff not to be inflated")))},
		{"in fragments", anyWS, string(mask(0x01, []byte("x"))) + string(mask(0x89, nil)) + string(mask(0x80, nil)), string(mask(0x01, []byte("x")))},
		{"of lines", "text://127.0.0.1:0", "x\n", "x\n"},
		{"of packets", "frame://127.0.0.1:0", "\x00\x00\x00\x05x", "\x00\x00\x00\x05x"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := New(x.addr)
			w.Limits.MaxRate, w.Compression = limit, true
			messages, ended := 0, make(chan error, 1)
			w.OnMessage = func(*Conn, Message) { messages++ }
			w.OnClose = func(_ *Conn, err error) { ended <- err }
			s := serve(t, w)
			c := dial(t, s.addrs[0])
			if x.addr == anyWS {
				c = connect(t, s.addrs[0], "/", "Sec-WebSocket-Extensions: permessage-deflate")
			}
			c.write([]byte(strings.Repeat(x.within, limit) + x.beyond + x.within)) // one read: one second
			var e *CloseError
			if err := <-ended; !errors.As(err, &e) || e.Code != 1008 || e.Reason != "too many messages" {
				t.Errorf("it ended with %v", err)
			}
			s.on(func() {
				if messages != limit {
					t.Errorf("%d messages were delivered, want %d", messages, limit)
				}
				if n := w.loop.snapshot().ClosedBy["max_rate"]; n != 1 {
					t.Errorf("%d were counted", n)
				}
			})
			if want := fmt.Sprintf("limits.max_rate is %d a second", limit); !strings.Contains(s.log.String(), want) {
				t.Errorf("the log has no %q: %s", want, s.log.String())
			}
		})
	}
}

// TestMaxRateIsPerSecondAndOfMessages: control frames are not counted, and the
// next second begins anew.
func TestMaxRateIsPerSecondAndOfMessages(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxRate = 2
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	for range 3 {
		second := uint32(0)
		c.write([]byte(strings.Repeat(string(mask(0x8a, nil)), 10)))
		c.text("a")
		c.want("a")
		c.text("b")
		c.want("b")
		s.on(func() { second = s.w.loop.conns.all[0].lastRecv })
		s.eventually("the next second", func() bool { return seconds(s.w.loop.now) > second })
	}
}
