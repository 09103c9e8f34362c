package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// The two groups of the conformance tests: wide limits, and the defaults.
const conformanceConfig = `
drain = "100ms"
[[worker]]
name = "wide"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
compression = true
limits = { max_message = "16MiB", max_fragments = 0 }
routes = { "/echo" = "echo" }
[[worker]]
name = "default"
listen = "websocket://127.0.0.1:%d"
count = 1
compression = true
routes = { "/echo" = { handler = "echo", origins = ["http://good.example"] } }
`

func TestConformance(t *testing.T) {
	t.Parallel()
	port := pushdtest.FreePort(t)
	s := pushdtest.Start(t, pushdtest.Options{Config: fmt.Sprintf(conformanceConfig, port)})
	wide, normal := fmt.Sprintf("127.0.0.1:%d", s.Port), fmt.Sprintf("127.0.0.1:%d", port)
	t.Run("parallel", func(t *testing.T) {
		for _, c := range []struct {
			name, addr string
			check      func(*testing.T, string)
		}{
			{"messages", wide, messages},
			{"65536 fragments", wide, manyFragments},
			{"control between fragments", wide, controlBetween},
			{"invalid UTF-8", wide, invalidUTF8},
			{"close codes", wide, closeCodes},
			{"failures", wide, failures},
			{"deflate windows", wide, deflateWindows},
			{"deflate failures", wide, deflateFailures},
			{"deflate bomb", normal, deflateBomb},
			{"floods", normal, floods},
			{"refusals", normal, refusals},
		} {
			t.Run(c.name, func(t *testing.T) { t.Parallel(); c.check(t, c.addr) })
		}
	})
	t.Run("announced lengths", func(t *testing.T) { announcedLengths(t, s, wide) })
}

// upgrade is a valid handshake but for its empty line.
const upgrade = "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// wire is a client that can send what a proper one never would.
type wire struct {
	net.Conn
	t    *testing.T
	r    *bufio.Reader
	resp *http.Response
}

func ask(t *testing.T, addr, request string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(pushdtest.Timeout)))
	w := &wire{t: t, Conn: conn, r: bufio.NewReader(conn)}
	w.send([]byte(request))
	w.resp, err = http.ReadResponse(w.r, nil)
	must(t, err)
	return w
}

// shake makes the handshake with further header lines, each with its CRLF.
func shake(t *testing.T, addr string, header ...string) *wire {
	t.Helper()
	w := ask(t, addr, upgrade+strings.Join(header, "")+"\r\n")
	if w.resp.StatusCode != http.StatusSwitchingProtocols || w.resp.Header.Get("Sec-WebSocket-Protocol") != "" ||
		w.resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %s %v", w.resp.Status, w.resp.Header)
	}
	return w
}

func (w *wire) send(b []byte) {
	w.t.Helper()
	if _, err := w.Write(b); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

// frame is a client's frame.
func frame(first byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{first, 0xff}, uint64(len(payload)))
	switch n := len(payload); {
	case n < 126:
		b = []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16([]byte{first, 0xfe}, uint16(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// fragments cuts a message into n frames.
func fragments(op byte, payload []byte, n int) (stream []byte) {
	for i := range n {
		first := byte(0)
		if i == 0 {
			first = op
		}
		if i == n-1 {
			first |= 0x80
		}
		stream = append(stream, frame(first, payload[i*len(payload)/n:(i+1)*len(payload)/n])...)
	}
	return stream
}

// next reads a frame, which must be final, unmasked and as short as possible.
func (w *wire) next() (first byte, payload []byte) {
	w.t.Helper()
	var head [2]byte
	_, err := io.ReadFull(w.r, head[:])
	must(w.t, err)
	n, size := uint64(head[1]), map[byte]int{126: 2, 127: 8}[head[1]]
	if size > 0 {
		var length [8]byte
		_, err = io.ReadFull(w.r, length[8-size:])
		must(w.t, err)
		n = binary.BigEndian.Uint64(length[:])
	}
	if head[0]&0x80 == 0 || head[1]&0x80 != 0 || n > 64<<20 || size == 2 && n < 126 || size == 8 && n < 1<<16 {
		w.t.Fatalf("a frame begins with %x and has %d bytes", head, n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(w.r, payload)
	must(w.t, err)
	return head[0], payload
}

func (w *wire) want(first byte, payload []byte) {
	w.t.Helper()
	if gotFirst, got := w.next(); gotFirst != first || !bytes.Equal(got, payload) {
		w.t.Fatalf("got %x with %d bytes %.60q, want %x with %d bytes %.60q", gotFirst, len(got), got, first, len(payload), payload)
	}
}

// wantClose wants the close frame with this code, 0 for none, and the end.
func (w *wire) wantClose(code uint16) {
	w.t.Helper()
	first, payload := w.next()
	var got uint16
	if len(payload) >= 2 {
		got = binary.BigEndian.Uint16(payload)
	}
	if first != 0x88 || got != code {
		w.t.Fatalf("got %x %.60q, want close %d", first, payload, code)
	}
	if _, err := w.r.ReadByte(); err != io.EOF {
		w.t.Fatalf("after the close frame: %v", err)
	}
	w.Close()
}

func messages(t *testing.T, addr string) {
	w := shake(t, addr)
	for op, unit := range map[byte]string{1: "aé√😀", 2: "\xff\x00\xfe\x80"} {
		for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 65537, 16 << 20} {
			body := bytes.Repeat([]byte(unit), size/len(unit))
			body = append(body, bytes.Repeat([]byte("x"), size-len(body))...)
			for _, n := range []int{1, 3} {
				go w.Write(fragments(op, body, n)) // an error shows in what comes back
				w.want(0x80|op, body)
			}
		}
	}
	text := []byte("everywhere: aé√😀")
	for cut := range len(text) + 1 {
		w.send(append(frame(1, text[:cut]), frame(0x80, text[cut:])...))
		w.want(0x81, text)
	}
	for _, b := range fragments(1, text, len(text)) {
		w.send([]byte{b})
	}
	w.want(0x81, text)
	w.send([]byte{0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 1, 2, 3, 4}) // 16 MiB and a byte
	w.wantClose(1009)
}

func manyFragments(t *testing.T, addr string) {
	w := shake(t, addr)
	for op, body := range map[byte][]byte{1: bytes.Repeat([]byte("é"), 1<<15), 2: bytes.Repeat([]byte{0xfe}, 1<<16)} {
		go w.Write(fragments(op, body, 1<<16))
		w.want(0x80|op, body)
	}
	w.send(fragments(1, nil, 1<<16))
	w.want(0x81, nil)
}

func controlBetween(t *testing.T, addr string) {
	w := shake(t, addr)
	longest := bytes.Repeat([]byte("p"), 125)
	w.send(bytes.Join([][]byte{
		frame(1, []byte("a\xc3")), frame(0x89, longest), frame(0, []byte("\xa9")),
		frame(0x8a, []byte("unasked")), frame(0x89, nil), frame(0x80, []byte("b")),
	}, nil))
	w.want(0x8a, longest)
	w.want(0x8a, nil)
	w.want(0x81, []byte("aéb"))
	w.send(append(frame(1, []byte("never ended")), frame(0x88, []byte{3, 232})...))
	w.wantClose(1000)
}

// invalidUTF8 puts bad sequences at each place of a text whose frame is never
// completed: it must be refused all the same.
func invalidUTF8(t *testing.T, addr string) {
	const text = "κόa😀"
	for _, bad := range []string{"\xff", "\xc0", "\xed\xa0", "\xf4\x90", "\xe0\x80", "\xf0\x80"} {
		for at := range len(text) + 1 {
			w := shake(t, addr)
			stream := frame(0x81, []byte(text[:at]+bad+strings.Repeat("x", 60)))
			w.send(stream[:len(stream)-60])
			w.wantClose(1007)
		}
	}
	for _, stream := range [][]byte{
		frame(0x81, []byte("a\xc3")), // ends inside a character
		append(frame(1, []byte("a\xe2\x82")), frame(0x80, nil)...),
		append(frame(1, []byte("a\xe2")), frame(0, []byte("a"))...),
		frame(0x88, []byte("\x03\xe8\xff")),
	} {
		w := shake(t, addr)
		w.send(stream)
		w.wantClose(1007)
	}
}

func closeCodes(t *testing.T, addr string) {
	closing := func(payload []byte, want uint16) {
		t.Helper()
		w := shake(t, addr)
		w.send(append(frame(0x88, payload), frame(0x81, []byte("ignored"))...))
		w.wantClose(want)
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		closing(binary.BigEndian.AppendUint16(nil, code), code)
		closing(append(binary.BigEndian.AppendUint16(nil, code), strings.Repeat("r", 123)...), code)
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		closing(binary.BigEndian.AppendUint16(nil, code), 1002)
	}
	closing(nil, 0)
	closing([]byte{3}, 1002)
}

// failures come as soon as the offending bytes are there.
func failures(t *testing.T, addr string) {
	for name, c := range map[string]struct {
		stream []byte
		code   uint16
	}{
		"unmasked":             {[]byte{0x81, 1}, 1002},
		"rsv1":                 {[]byte{0xc1}, 1002},
		"rsv2":                 {[]byte{0xa1}, 1002},
		"rsv3":                 {[]byte{0x91}, 1002},
		"fragmented ping":      {[]byte{0x09}, 1002},
		"fragmented close":     {[]byte{0x08}, 1002},
		"ping of 126":          {[]byte{0x89, 0xfe}, 1002},
		"close of 126":         {[]byte{0x88, 0xfe}, 1002},
		"no message":           {frame(0x80, []byte("a")), 1002},
		"message in a message": {append(frame(1, []byte("a")), frame(0x81, []byte("b"))...), 1002},
		"125 in 16 bits":       {[]byte{0x82, 0xfe, 0, 125}, 1002},
		"65535 in 64 bits":     {[]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 1002},
		"2^63":                 {[]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1002},
		"2^63-1":               {[]byte{0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}, 1009},
		"2^63-1 more":          {append(frame(2, []byte("a")), 0x80, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			w := shake(t, addr)
			w.send(c.stream)
			w.wantClose(c.code)
		})
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		w := shake(t, addr)
		w.send([]byte{0x80 | op})
		w.wantClose(1002)
	}
}

// floods are one write each, so that they fall into one second or two.
func floods(t *testing.T, addr string) {
	w := shake(t, addr)
	w.send(bytes.Repeat(frame(0x89, nil), 250))
	first, payload := w.next()
	for first == 0x8a {
		first, payload = w.next()
	}
	if first != 0x88 || string(payload[:2]) != "\x03\xf0" {
		t.Fatalf("got %x %q in a flood of pings, want close 1008", first, payload)
	}
	w = shake(t, addr)
	w.send(fragments(2, nil, 1024))
	w.want(0x82, nil)
	w.send(fragments(2, nil, 1025))
	w.wantClose(1008)
	w = shake(t, addr)
	w.send(frame(0x82, make([]byte, 64<<10+1)))
	w.wantClose(1009)
}

func refusals(t *testing.T, addr string) {
	swap := func(old, new string) string { return strings.Replace(upgrade, old, new, 1) + "\r\n" }
	with := func(lines string) string { return upgrade + lines + "\r\n\r\n" }
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"POST":                   {swap("GET", "POST"), 405},
		"no Host":                {swap("Host: a\r\n", ""), 400},
		"no key":                 {swap("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400},
		"short key":              {swap("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400},
		"no Connection: Upgrade": {swap("Connection: Upgrade", "Connection: keep-alive"), 400},
		"no version":             {swap("Sec-WebSocket-Version: 13\r\n", ""), 400},
		"version 8":              {swap("Version: 13", "Version: 8"), 426},
		"no upgrade":             {swap("Upgrade: websocket\r\n", ""), 426},
		"foreign origin":         {with("Origin: http://bad.example"), 403},
		"no such path":           {swap("/echo", "/nothing"), 404},
		"9 KiB of header":        {with("X: " + strings.Repeat("x", 9<<10)), 431},
		"105 header lines":       {with(strings.Repeat("X: y\r\n", 99) + "X: y"), 431},
		"bare LF":                {with("X: y\nY: z"), 400},
		"folded line":            {with("X: y\r\n z"), 400},
		"space before the colon": {with("X : y"), 400},
		"a body":                 {with("Content-Length: 3"), 400},
		"a chunked body":         {with("Transfer-Encoding: chunked"), 400},
		"twice a subprotocol":    {with("Sec-WebSocket-Protocol: x, x"), 400},
		"malformed extension":    {with("Sec-WebSocket-Extensions: ;"), 400},
		"smuggled request":       {"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(t, addr, c.request); w.resp.StatusCode != c.status {
				t.Errorf("got %s, want %d", w.resp.Status, c.status)
			}
		})
	}
	shake(t, addr, "Origin: http://good.example\r\n", "Sec-WebSocket-Protocol: unknown\r\n")
}

// deflated compresses a message.
func deflated(t *testing.T, payload []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	f, err := flate.NewWriter(&b, level)
	must(t, err)
	_, err = f.Write(payload)
	must(t, err)
	must(t, f.Flush())
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func inflated(t *testing.T, data []byte) []byte {
	t.Helper()
	plain, err := io.ReadAll(flate.NewReader(bytes.NewReader(append(data, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...))))
	must(t, err)
	return plain
}

// deflateWindows sends a text whose second half repeats the first from a
// distance that only the widest window spans: the sizes of the echoes tell
// whether the others were kept to.
func deflateWindows(t *testing.T, addr string) {
	half := make([]byte, 20000)
	for i, x := 0, uint32(1); i < len(half); i++ {
		x = x*1664525 + 1013904223
		half[i] = "abcdefghijklmnopqrstuvwxyz012345"[x>>27]
	}
	text := append(bytes.Clone(half), half...)
	size := 0 // of the echo with the window before
	for bits := 8; bits <= 15; bits++ {
		bitsSaid := fmt.Sprintf("server_max_window_bits=%d; client_max_window_bits=%d", bits, bits)
		w := shake(t, addr, "Sec-WebSocket-Extensions: permessage-deflate; "+bitsSaid+"\r\n")
		want := "permessage-deflate; server_no_context_takeover; client_no_context_takeover; " + bitsSaid
		if got := w.resp.Header.Get("Sec-WebSocket-Extensions"); got != want {
			t.Fatalf("answered %q, want %q", got, want)
		}
		level := flate.HuffmanOnly // looks back not at all: within any window
		if bits == 15 {
			level = flate.BestCompression
		}
		stream := fragments(1, deflated(t, text, level), bits-7)
		stream[0] |= 0x40
		w.send(stream)
		first, got := w.next()
		if first != 0xc1 || !bytes.Equal(inflated(t, got), text) {
			t.Fatalf("window of 2^%d: got %x with %d bytes, not the message", bits, first, len(got))
		}
		if reaches := bits > 8 && len(got) < 3*size/4; reaches != (bits == 15) {
			t.Errorf("window of 2^%d: the echo has %d bytes, with half the window %d", bits, len(got), size)
		}
		size = len(got)
	}
	w := shake(t, addr, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n")
	if got := w.resp.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("an impossible window was answered with %q", got)
	}
}

func deflateFailures(t *testing.T, addr string) {
	for _, c := range []struct {
		stream []byte
		code   uint16
	}{
		{frame(0xc1, []byte{0xff, 0xff}), 1007},                                   // no DEFLATE
		{frame(0xc1, deflated(t, []byte("a\xff"), 1)), 1007},                      // no UTF-8 in it
		{frame(0xc9, nil), 1002},                                                  // a control frame
		{append(frame(0x41, deflated(t, nil, 1)), frame(0xc0, nil)...), 1002},     // RSV1 on a continuation
		{frame(0xc2, deflated(t, make([]byte, 16<<20+1), flate.BestSpeed)), 1009}, // over max_message
	} {
		w := shake(t, addr, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
		w.send(c.stream)
		w.wantClose(c.code)
	}
}

func deflateBomb(t *testing.T, addr string) {
	w := shake(t, addr, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	bomb := deflated(t, make([]byte, 40<<20), flate.BestCompression)
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb has %d bytes, too many to be let in", len(bomb))
	}
	w.send(frame(0xc2, bomb))
	w.wantClose(1009)
}

// announcedLengths begins many frames of nearly 16 MiB and sends 100 bytes of
// each. A ping before them shows that the worker has come that far.
func announcedLengths(t *testing.T, s *pushdtest.Server, addr string) {
	const clients = 100
	before := residentBytes(t, s)
	for range clients {
		w := shake(t, addr)
		w.send(append(append(frame(0x89, nil), 0x02, 0xff, 0, 0, 0, 0, 0, 0xff, 0, 0, 1, 2, 3, 4), bytes.Repeat([]byte("x"), 100)...))
		w.want(0x8a, nil)
	}
	if grown := residentBytes(t, s) - before; grown > clients<<20 {
		t.Errorf("%d clients that announced 16 MiB each made the workers grow by %d MiB", clients, grown>>20)
	}
}

func residentBytes(t *testing.T, s *pushdtest.Server) (sum int64) {
	t.Helper()
	var status struct {
		Workers []struct {
			RSS int64 `json:"rss_bytes"`
		} `json:"workers"`
	}
	must(t, json.Unmarshal([]byte(s.MustRun("status", "--json")), &status))
	for _, w := range status.Workers {
		if sum += w.RSS; w.RSS == 0 {
			t.Fatal("status tells no rss_bytes")
		}
	}
	return sum
}
