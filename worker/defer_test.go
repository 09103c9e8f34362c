package worker

import (
	"net/http"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// TestDeferredTooLong: who defers an answer has 60 s, by request and handshake,
// and then the client gets 504. The test looks at the deadline, moves it to now,
// and waits for the heartbeat to find it.
func TestDeferredTooLong(t *testing.T) {
	for name, request := range map[string]string{
		"request": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"handshake": "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w, e := newEchoer(anyWS)
			w.Limits.HandshakeTimeout = time.Second // is not what counts
			var before, after time.Duration
			deferred := func() { after = reactor.Monotonic() }
			w.OnRequest = func(w *Response, _ *Request) { w.Defer(); deferred() }
			w.OnHandshake = func(_ *Conn, h *Handshake) { h.Defer(); deferred() }
			s := serve(t, w)
			c := dial(t, s.addrs[0])
			before = reactor.Monotonic()
			c.write([]byte(request))
			s.eventually("it is deferred", func() bool { return after > 0 })
			s.on(func() {
				at := w.loop.conns.when(w.loop.conns.all[0])
				if *at <= seconds(before+60*time.Second) || *at > seconds(after+60*time.Second)+1 {
					t.Errorf("it ends at %d s, deferred at %s", *at, after)
				}
				*at = seconds(w.loop.now)
			})
			res, err := http.ReadResponse(c.r, nil)
			must(t, err)
			if res.StatusCode != http.StatusGatewayTimeout {
				t.Error(res.Status)
			}
			s.on(func() {
				if e.connects > 0 {
					t.Error("OnConnect ran")
				}
			})
		})
	}
}
