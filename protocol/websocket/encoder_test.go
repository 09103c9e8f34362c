package websocket

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// readFrame reads one server frame with gobwas/ws's reader.
func readFrame(t testing.TB, b []byte) ws.Frame {
	t.Helper()
	r := bytes.NewReader(b)
	//lint:ignore SA1019 it reads our own frames
	f, err := ws.ReadFrame(r)
	if err != nil || r.Len() != 0 {
		t.Fatalf("frame of %d bytes: %v, %d bytes over", len(b), err, r.Len())
	}
	return f
}

func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
		payload := bytes.Repeat([]byte{'x'}, n)
		b := AppendFrame([]byte("before"), Binary, payload)
		if len(b) != len("before")+HeaderLen(n)+n {
			t.Errorf("%d bytes became %d, header %d", n, len(b), HeaderLen(n))
		}
		f := readFrame(t, b[len("before"):])
		if h := f.Header; !h.Fin || HeaderLen(n) != ws.HeaderSize(h) || h.Rsv != 0 || h.Masked || h.OpCode != ws.OpBinary || !bytes.Equal(f.Payload, payload) {
			t.Errorf("%d bytes: header %+v", n, h)
		}
	}
}

func TestAppendFramePanicsForLongControl(t *testing.T) {
	AppendFrame(nil, Ping, make([]byte, MaxControl))
	defer func() {
		if recover() == nil {
			t.Error("a ping of 126 bytes was encoded")
		}
	}()
	AppendFrame(nil, Ping, make([]byte, MaxControl+1))
}

func TestAppendClose(t *testing.T) {
	for _, c := range []struct {
		code         uint16
		reason, want string // want: payload
	}{
		{CloseNormal, "", "\x03\xe8"},
		{CloseTryLater, "slow", "\x03\xf5slow"},
		{4999, "täglich", "\x13\x87täglich"},
		{0, "x", ""}, {CloseNoStatus, "x", ""}, {CloseAbnormal, "x", ""}, {1015, "x", ""},
		{CloseNormal, strings.Repeat("r", 123), "\x03\xe8" + strings.Repeat("r", 123)},
		{CloseNormal, strings.Repeat("r", 124), "\x03\xe8" + strings.Repeat("r", 123)},
		{CloseNormal, strings.Repeat("r", 122) + "ä", "\x03\xe8" + strings.Repeat("r", 122)},
		{CloseNormal, strings.Repeat("r", 121) + "ä", "\x03\xe8" + strings.Repeat("r", 121) + "ä"},
		{CloseNormal, strings.Repeat("😀", 40), "\x03\xe8" + strings.Repeat("😀", 30)},
		{CloseNormal, "a\xffb", "\x03\xe8a\uFFFDb"},
	} {
		f := readFrame(t, AppendClose(nil, c.code, c.reason))
		if f.Header.OpCode != ws.OpClose || string(f.Payload) != c.want {
			t.Errorf("%d %q: payload %q, want %q", c.code, c.reason, f.Payload, c.want)
		}
		if len(f.Payload) > 2 && !utf8.Valid(f.Payload[2:]) {
			t.Errorf("%d %q: reason is not UTF-8", c.code, c.reason)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, n := range map[string]int{"128": 128, "16K": 16 << 10} {
		b.Run(name, func(b *testing.B) {
			dst, payload := make([]byte, 0, 1<<16), make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				AppendFrame(dst, Text, payload)
			}
		})
	}
}
