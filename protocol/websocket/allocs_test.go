//go:build !race

// The race detector makes sync.Pool forget what it holds.

package websocket

import (
	"bytes"
	"strings"
	"testing"
)

// TestDecodeAllocations: what arrives whole is not copied.
func TestDecodeAllocations(t *testing.T) {
	for name, stream := range map[string][]byte{
		"text":    frame(fin|1, strings.Repeat("x", 128)),
		"binary":  frame(fin|2, strings.Repeat("\xff", 16<<10)),
		"ping":    frame(fin|9, "ping"),
		"refused": {fin | 1, 0},
	} {
		buf := make([]byte, len(stream))
		var lim Limits
		if n := testing.AllocsPerRun(100, func() {
			copy(buf, stream)
			var d Decoder
			_, _, _, _ = d.Next(buf, &lim, false)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestEncodeAllocations(t *testing.T) {
	dst, payload := make([]byte, 0, 1<<16), bytes.Repeat([]byte("x"), 1<<10)
	if n := testing.AllocsPerRun(100, func() {
		AppendFrame(dst, Text, payload)
		AppendClose(dst, CloseGoingAway, "bye")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUpgradeAllocations(t *testing.T) {
	block := []byte(with("Origin: http://server.example.com\r\nUser-Agent: x\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"))
	dst := make([]byte, 0, 1<<10)
	decide := func(*Request) Answer { return Answer{Subprotocol: "b"} }
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := Upgrade(dst, block, Options{Compression: true}, decide); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // the upgrader's
		t.Errorf("%v allocations", n)
	}
}
