package worker

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol"
	"github.com/pushd/pushd/worker/reactor"
)

// allocated returns how many bytes of memory the process asks for during fn.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestUploadIsLinear: a body that comes in many reads is not copied with each.
func TestUploadIsLinear(t *testing.T) {
	const size = 16 << 20
	w := New("http://127.0.0.1:0")
	w.Limits.MaxBody = size
	w.OnRequest = func(w *Response, r *Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}
	s := serve(t, w)
	block := []byte(strings.Repeat("x", 64<<10))
	chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", len(block), block))
	for name, c := range map[string]struct {
		header string
		block  []byte
		end    string
	}{
		"length": {fmt.Sprintf("Content-Length: %d", size), block, ""},
		"chunks": {"Transfer-Encoding: chunked", chunk, "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cl := dial(t, s.addrs[0])
			n := allocated(func() {
				cl.write([]byte("POST / HTTP/1.1\r\nHost: a\r\n" + c.header + "\r\n\r\n"))
				for range size / len(block) {
					cl.write(c.block)
				}
				cl.write([]byte(c.end))
				if _, body := cl.response("POST"); body != fmt.Sprint(size) {
					t.Errorf("got %q", body)
				}
			})
			if n > 10*size {
				t.Errorf("%d bytes are allocated for a body of %d", n, size)
			}
		})
	}
}

// TestBacklogIsLinear: bytes that wait are not copied with each that comes, nor
// with each message that is taken.
func TestBacklogIsLinear(t *testing.T) {
	const size = 1 << 20
	for name, step := range map[string]struct{ add, drop int }{
		"comes in small pieces, goes in one": {16, size}, "comes in one, goes in small pieces": {size, 16}, "both": {48, 16},
	} {
		t.Run(name, func(t *testing.T) {
			var k backlog
			added, dropped := 0, 0
			n := allocated(func() {
				piece := make([]byte, step.add)
				for dropped < size {
					if added < size {
						for i := range piece {
							piece[i] = byte((added + i) % 251)
						}
						k.add(piece)
						added += step.add
					}
					if k.len() >= step.drop {
						if k.bytes()[0] != byte(dropped%251) || k.len() != added-dropped {
							t.Fatalf("after %d of %d bytes the next is %d", dropped, added, k.bytes()[0])
						}
						k.drop(step.drop)
						dropped += step.drop
					}
				}
			})
			if n > 16*size {
				t.Errorf("%d bytes are allocated for %d", n, size)
			}
		})
	}
}

// counting is lines, and counts how many bytes it is asked to look at.
type counting struct{ looked *int }

func (p counting) Input(buf []byte, limit int) (int, error) { return p.InputFrom(buf, 0, limit) }
func (p counting) InputFrom(buf []byte, seen, _ int) (int, error) {
	*p.looked += len(buf) - seen
	return strings.IndexByte(string(buf), '\n') + 1, nil
}
func (counting) Decode(packet []byte) ([]byte, error) { return packet, nil }
func (counting) Encode(dst, payload []byte) []byte    { return append(dst, payload...) }

// announced is a length of one byte, and counts how often it is asked.
type announced struct{ asked *int }

func (p announced) Input(buf []byte, _ int) (int, error) {
	*p.asked++
	return 1 + int(buf[0]), nil
}
func (announced) Decode(packet []byte) ([]byte, error) { return packet, nil }
func (announced) Encode(dst, payload []byte) []byte    { return append(dst, payload...) }

// TestPacketsAreLookedAtOnce: a packet protocol is not asked about bytes in which
// it has found no end, nor before a length that it has told is there.
func TestPacketsAreLookedAtOnce(t *testing.T) {
	n := 0
	for name, c := range map[string]struct {
		proto protocol.Protocol
		raw   string
		most  int
	}{
		"lines":   {counting{&n}, strings.Repeat("x", 5000) + "\nabc\n", 5005},
		"lengths": {announced{&n}, "\xff" + strings.Repeat("x", 255) + "\x00", 3},
	} {
		raw, most := c.raw, c.most
		t.Run(name, func(t *testing.T) {
			n = 0
			var got []string
			l := &loop{w: New(), log: slog.New(slog.DiscardHandler), reactor: reactor.NewMemory[*Conn](time.Hour, time.Now())}
			rt := &route{callbacks: callbacks{onMessage: func(_ *Conn, m Message) { got = append(got, string(m.Data)) }}}
			c := &Conn{loop: l, seat: rt.at(&port{addr: listenAddr{packet: c.proto}}, transportPacket)}
			for i := range raw {
				l.Begin()
				c.receive([]byte{raw[i]})
			}
			if strings.Join(got, "") != raw || len(got) != 2 || c.in != nil {
				t.Errorf("got %q, %+v is left", got, c.in)
			}
			if n > most {
				t.Errorf("%d instead of at most %d", n, most)
			}
		})
	}
}

// TestTextsOfARecordAreLinear: a thousand session values cost what they are long.
func TestTextsOfARecordAreLinear(t *testing.T) {
	l := &loop{plain: &route{}}
	c := &Conn{loop: l, seat: l.plain.at(&port{addr: listenAddr{text: anyWS}}, transportHTTP), id: ID{1}, out: &queue{}}
	for i := range 1000 {
		must(t, c.Set(fmt.Sprint(i), "some value"))
	}
	record := c.appendRecord(nil)
	n := uint64(math.MaxUint64)
	for range 5 { // what other goroutines ask for is counted too: the least is ours
		n = min(n, allocated(func() {
			a, err := parseRecord(l, record)
			if err != nil || a.c.Get("999") != "some value" || a.c.more.texts != c.more.texts {
				t.Errorf("%v, %+v", err, a.c.more)
			}
		}))
	}
	if n > uint64(16*len(record)) {
		t.Errorf("%d bytes are allocated for a record of %d", n, len(record))
	}
}
