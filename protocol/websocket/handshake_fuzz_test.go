package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func FuzzUpgrade(f *testing.F) {
	f.Add([]byte(browser), true)
	f.Add([]byte(instead("/chat?room=1", "http://h?b")), false)
	f.Add([]byte(with("Sec-WebSocket-Protocol: a, b\r\nConnection: close\r\n")), false)
	f.Fuzz(func(t *testing.T, block []byte, compression bool) {
		IsUpgrade(block)
		uri := ""
		resp, res, err := upgrade(t, string(block), Options{Compression: compression, MaxHeaders: 100}, func(r *Request) Answer {
			uri = string(r.URI)
			for p := range r.Protocols() {
				return Answer{Subprotocol: string(p)}
			}
			return Answer{}
		})
		var he *HandshakeError
		if err != nil {
			if !errors.As(err, &he) || he.Status != resp.StatusCode || he.Cause == "answer" {
				t.Fatalf("%v, status %d", err, resp.StatusCode)
			}
			return
		}
		// What is accepted must also be a request to net/http, and the same one.
		src := bufio.NewReader(bytes.NewReader(block))
		req, err := http.ReadRequest(src)
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse ") {
				return // a target's escapes and port are the router's part
			}
			t.Fatalf("accepted %q, but net/http: %v", block, err)
		}
		if src.Buffered() > 0 || req.ContentLength != 0 || len(req.TransferEncoding) > 0 || req.Method != "GET" {
			t.Fatalf("net/http sees another request: %+v", req)
		}
		if got := req.URL.RequestURI(); !strings.HasPrefix(req.RequestURI, "/") && got != uri && !strings.Contains(uri, "%") && len(got) == len(uri) {
			t.Fatalf("URI %q, net/http %q", uri, got)
		}
		if resp.StatusCode != 101 || res.Deflate && !compression {
			t.Fatalf("status %d, %+v", resp.StatusCode, res)
		}
	})
}
