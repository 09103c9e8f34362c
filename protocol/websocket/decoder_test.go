package websocket

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
)

// rules is every rule of RFC 6455 and RFC 7692 that a server must enforce, and
// what is allowed beside it.
var rules = []struct {
	name    string
	stream  []byte
	events  string // joined by '|'
	code    uint16 // 0: goes on
	lim     Limits
	deflate bool
}{
	{name: "nothing", stream: nil},
	{name: "text", stream: frame(fin|1, "Hello"), events: "text:Hello"},
	{name: "binary", stream: frame(fin|2, "\xff\x00\xfe"), events: "binary:\xff\x00\xfe"},
	{name: "empty text", stream: frame(fin|1, ""), events: "text:"},
	{name: "empty binary", stream: frame(fin|2, ""), events: "binary:"},
	{name: "two in a row", stream: join(frame(fin|1, "a"), frame(fin|2, "b")), events: "text:a|binary:b"},
	{name: "125 bytes", stream: frame(fin|1, strings.Repeat("x", 125)), events: "text:" + strings.Repeat("x", 125)},
	{name: "126 bytes", stream: frame(fin|1, strings.Repeat("x", 126)), events: "text:" + strings.Repeat("x", 126)},
	{name: "ping", stream: frame(fin|9, "p"), events: "ping:p"},
	{name: "empty ping", stream: frame(fin|9, ""), events: "ping:"},
	{name: "pong", stream: frame(fin|10, "p"), events: "pong:p"},
	{name: "ping of 125", stream: frame(fin|9, strings.Repeat("p", 125)), events: "ping:" + strings.Repeat("p", 125)},

	{name: "fragments", stream: join(frame(1, "He"), frame(0, "l"), frame(0, ""), frame(fin, "lo")), events: "text:Hello"},
	{name: "empty fragments", stream: join(frame(1, ""), frame(0, ""), frame(fin, "")), events: "text:"},
	{name: "only the last has bytes", stream: join(frame(2, ""), frame(fin, "x")), events: "binary:x"},
	{name: "control between fragments", stream: join(frame(1, "He"), frame(fin|9, "now"), frame(0, "l"),
		frame(fin|10, ""), frame(fin, "lo")), events: "ping:now|pong:|text:Hello"},
	{name: "close between fragments", stream: join(frame(1, "He"), frame(fin|8, "\x03\xe8bye")), events: "close:1000:bye"},
	{name: "UTF-8 across fragments", stream: join(frame(1, "\xe2"), frame(fin|9, ""), frame(0, "\x82"), frame(fin, "\xac")), events: "ping:|text:€"},
	{name: "message after a fragmented one", stream: join(frame(1, "a"), frame(fin, "b"), frame(fin|1, "c")), events: "text:ab|text:c"},

	{name: "unmasked", stream: []byte{fin | 1, 1, 'x'}, code: 1002},
	{name: "unmasked empty", stream: []byte{fin | 1, 0}, code: 1002},
	{name: "unmasked ping", stream: []byte{fin | 9, 0}, code: 1002},
	{name: "RSV1 not negotiated", stream: frame(fin|0x40|1, "x"), code: 1002},
	{name: "RSV2", stream: frame(fin|0x20|1, "x"), code: 1002, deflate: true},
	{name: "RSV3", stream: frame(fin|0x10|1, "x"), code: 1002, deflate: true},
	{name: "RSV1 and RSV2", stream: frame(fin|0x60|1, "x"), code: 1002, deflate: true},
	{name: "RSV1 on ping", stream: frame(fin|0x40|9, ""), code: 1002, deflate: true},
	{name: "RSV1 on close", stream: frame(fin|0x40|8, ""), code: 1002, deflate: true},
	{name: "RSV1 on continuation", stream: join(frame(0x40|1, ""), frame(fin|0x40, "\x00")), code: 1002, deflate: true},
	{name: "opcode 3", stream: frame(fin|3, ""), code: 1002},
	{name: "opcode 7", stream: frame(fin|7, ""), code: 1002},
	{name: "opcode 11", stream: frame(fin|11, ""), code: 1002},
	{name: "opcode 15", stream: frame(fin|15, ""), code: 1002},
	{name: "fragmented ping", stream: frame(9, ""), code: 1002},
	{name: "fragmented pong", stream: frame(10, ""), code: 1002},
	{name: "fragmented close", stream: frame(8, ""), code: 1002},
	{name: "ping of 126", stream: frame(fin|9, strings.Repeat("p", 126)), code: 1002},
	{name: "ping with a 64-bit length", stream: head(fin|9, maskBit|127, 0, 0, 0, 0, 0, 0, 0, 1), code: 1002},
	{name: "continuation without start", stream: frame(fin, "x"), code: 1002},
	{name: "continuation after the end", stream: join(frame(fin|1, "x"), frame(0, "y")), events: "text:x", code: 1002},
	{name: "text inside text", stream: join(frame(1, "x"), frame(fin|1, "y")), code: 1002},
	{name: "binary inside text", stream: join(frame(1, "x"), frame(2, "y")), code: 1002},
	{name: "16-bit length for 125", stream: head(fin|1, maskBit|126, 0, 125), code: 1002},
	{name: "64-bit length for 65535", stream: head(fin|1, maskBit|127, 0, 0, 0, 0, 0, 0, 0xff, 0xff), code: 1002},
	{name: "length 2^63", stream: head(fin|2, maskBit|127, 0x80, 0, 0, 0, 0, 0, 0, 0), code: 1002},
	{name: "length 2^64-1", stream: head(fin|2, maskBit|127, 255, 255, 255, 255, 255, 255, 255, 255), code: 1002},
	{name: "length 2^63-1, no limit", stream: head(fin|2, maskBit|127, 127, 255, 255, 255, 255, 255, 255, 255)},
	{name: "length 2^63-1", stream: head(fin|2, maskBit|127, 127, 255, 255, 255, 255, 255, 255, 255), code: 1009, lim: Limits{MaxMessage: 1 << 20}},

	{name: "lone continuation byte", stream: frame(fin|1, "a\x80b"), code: 1007},
	{name: "overlong slash", stream: frame(fin|1, "\xc0\xaf"), code: 1007},
	{name: "overlong of 3", stream: frame(fin|1, "\xe0\x9f\xbf"), code: 1007},
	{name: "overlong of 4", stream: frame(fin|1, "\xf0\x8f\xbf\xbf"), code: 1007},
	{name: "surrogate", stream: frame(fin|1, "\xed\xa0\x80"), code: 1007},
	{name: "above U+10FFFF", stream: frame(fin|1, "\xf4\x90\x80\x80"), code: 1007},
	{name: "last code point", stream: frame(fin|1, "\xf4\x8f\xbf\xbf"), events: "text:\U0010ffff"},
	{name: "cut off character", stream: frame(fin|1, "a\xe2\x82"), code: 1007},
	{name: "cut off across fragments", stream: join(frame(1, "a\xe2"), frame(fin, "\x82")), code: 1007},
	{name: "broken by a fragment", stream: join(frame(1, "a\xe2"), frame(fin, "a")), code: 1007},
	{name: "not UTF-8 in binary", stream: join(frame(2, "\x80"), frame(fin, "\xff")), events: "binary:\x80\xff"},

	{name: "close without code", stream: frame(fin|8, ""), events: "close:1005:"},
	{name: "close of one byte", stream: frame(fin|8, "\x03"), code: 1002},
	{name: "close 1000", stream: frame(fin|8, "\x03\xe8"), events: "close:1000:"},
	{name: "close with reason", stream: frame(fin|8, "\x0b\xb8täglich"), events: "close:3000:täglich"},
	{name: "close of 125", stream: frame(fin|8, "\x03\xe8"+strings.Repeat("r", 123)), events: "close:1000:" + strings.Repeat("r", 123)},
	{name: "close of 126", stream: frame(fin|8, "\x03\xe8"+strings.Repeat("r", 124)), code: 1002},
	{name: "reason not UTF-8", stream: frame(fin|8, "\x03\xe8\xff"), code: 1007},
	{name: "reason cut off", stream: frame(fin|8, "\x03\xe8\xe2\x82"), code: 1007},
	{name: "bytes after close", stream: join(frame(fin|8, "\x03\xe8"), []byte{0xff, 0xff}), events: "close:1000:"},

	{name: "at the limit", stream: frame(fin|1, "12345678"), events: "text:12345678", lim: Limits{MaxMessage: 8}},
	{name: "over the limit, by its header", stream: frame(fin|1, "123456789")[:6], code: 1009, lim: Limits{MaxMessage: 8}},
	{name: "fragments at the limit", stream: join(frame(1, "1234"), frame(fin, "5678")), events: "text:12345678", lim: Limits{MaxMessage: 8}},
	{name: "fragments over the limit", stream: join(frame(1, "1234"), frame(fin, "56789")), code: 1009, lim: Limits{MaxMessage: 8}},
	{name: "control frames do not count", stream: join(frame(1, "1234"), frame(fin|9, "123456789"), frame(fin, "5678")),
		events: "ping:123456789|text:12345678", lim: Limits{MaxMessage: 8, MaxFragments: 2}},
	{name: "fragments at their limit", stream: join(frame(1, ""), frame(0, ""), frame(fin, "x")), events: "text:x", lim: Limits{MaxFragments: 3}},
	{name: "too many fragments", stream: join(frame(1, ""), frame(0, ""), frame(0, ""), frame(fin, "x")), code: 1008, lim: Limits{MaxFragments: 3}},
	{name: "limit is per message", stream: join(frame(1, ""), frame(fin, "x"), frame(1, ""), frame(fin, "y")), events: "text:x|text:y", lim: Limits{MaxFragments: 2}},

	{name: "compressed (RFC 7692, 7.2.3.1)", stream: frame(fin|0x40|1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), events: "text:Hello", deflate: true},
	{name: "compressed fragments", stream: join(frame(0x40|1, "\xf2\x48\xcd"), frame(fin|9, "p"), frame(fin, "\xc9\xc9\x07\x00")), events: "ping:p|text:Hello", deflate: true},
	{name: "stored block (7.2.3.3)", stream: frame(fin|0x40|1, "\x00\x05\x00\xfa\xffHello\x00"), events: "text:Hello", deflate: true},
	{name: "final block (7.2.3.4)", stream: frame(fin|0x40|1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), events: "text:Hello", deflate: true},
	{name: "two blocks (7.2.3.5)", stream: frame(fin|0x40|1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), events: "text:Hello", deflate: true},
	{name: "data after a final block", stream: frame(fin|0x40|1, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), events: "text:HelloHello", deflate: true},
	{name: "match across a final block", stream: frame(fin|0x40|1, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"), events: "text:HelloHello", deflate: true},
	{name: "endless final blocks", stream: frame(fin|0x40|1, strings.Repeat("\x03\x00", 1000)), code: 1007, deflate: true},
	{name: "compressed nothing", stream: frame(fin|0x40|2, "\x00"), events: "binary:", deflate: true},
	{name: "uncompressed between compressed", stream: join(frame(fin|0x40|1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(fin|1, "Hello")), events: "text:Hello|text:Hello", deflate: true},
	{name: "garbage", stream: frame(fin|0x40|1, "\xff\xff\xff\xff"), code: 1007, deflate: true},
	{name: "context of the message before", stream: join(frame(fin|0x40|1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(fin|0x40|1, "\xf2\x00\x11\x00\x00")), events: "text:Hello", code: 1007, deflate: true},
	{name: "compressed text not UTF-8", stream: frame(fin|0x40|1, "\x00\x01\x00\xfe\xff\xff\x00"), code: 1007, deflate: true},
	{name: "compressed text cut off", stream: frame(fin|0x40|1, "\x00\x02\x00\xfd\xff\xe2\x82\x00"), code: 1007, deflate: true},
	{name: "compressed binary", stream: frame(fin|0x40|2, "\x00\x01\x00\xfe\xff\xff\x00"), events: "binary:\xff", deflate: true},
	{name: "inflates to the limit", stream: frame(fin|0x40|1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), events: "text:Hello", lim: Limits{MaxMessage: 5}, deflate: true},
	{name: "inflates over the limit", stream: frame(fin|0x40|1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), code: 1009, lim: Limits{MaxMessage: 4}, deflate: true},
}

// TestRules plays every rule whole, byte by byte and in every two parts, each
// also with the Decoder moved through its saved state after every part.
func TestRules(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			p := player{lim: r.lim, deflate: r.deflate}
			whole := p.play(t, r.stream)
			if got := strings.Join(whole.events, "|"); got != r.events || whole.code != r.code {
				t.Fatalf("got %v, want %q, code %d", whole, r.events, r.code)
			}
			for _, move := range []bool{false, true} {
				p.move = move
				if got := p.play(t, r.stream, everyByte(len(r.stream))...); !got.equal(whole) {
					t.Fatalf("byte by byte (moved: %v): %v, whole: %v", move, got, whole)
				}
				for cut := range len(r.stream) {
					if got := p.play(t, r.stream, cut); !got.equal(whole) {
						t.Fatalf("cut at %d (moved: %v): %v, whole: %v", cut, move, got, whole)
					}
				}
			}
		})
	}
}

// TestCloseCodes tries all 65,536 codes.
func TestCloseCodes(t *testing.T) {
	const registered = " 1000 1001 1002 1003 1007 1008 1009 1010 1011 1012 1013 1014 "
	for code := range 1 << 16 {
		valid := code >= 3000 && code < 5000 ||
			strings.Contains(registered, string([]byte{' ', byte('0' + code/1000%10), byte('0' + code/100%10), byte('0' + code/10%10), byte('0' + code%10), ' '})) && code < 10000
		out := player{}.play(t, frame(fin|8, string([]byte{byte(code >> 8), byte(code)})))
		if got := out.code == 0; got != valid {
			t.Fatalf("code %d: accepted %v, want %v", code, got, valid)
		}
		if unsaid := code == 0 || code == 1005 || code == 1006 || code == 1015; MayClose(code) != (valid || unsaid) {
			t.Fatalf("code %d: MayClose says %v", code, !valid)
		}
		if !valid && out.code != 1002 {
			t.Fatalf("code %d: refused with %d", code, out.code)
		}
	}
}

// TestRest checks that what follows an event is handed back untouched.
func TestRest(t *testing.T) {
	tail := []byte{0xde, 0xad, 0xbe, 0xef}
	var d Decoder
	ev, rest, ok, err := d.Next(join(frame(fin|1, "Hello"), tail), new(Limits), false)
	if err != nil || !ok || string(ev.Data) != "Hello" || !bytes.Equal(rest, tail) {
		t.Fatalf("got %q, rest % x, ok %v, %v", ev.Data, rest, ok, err)
	}
}

// TestLongMessages: 16 MiB in one frame and in 65,536 fragments, read in
// chunks of 64 KiB. Memory shows that the work is linear and that nothing is
// allocated for bytes that are only announced.
func TestLongMessages(t *testing.T) {
	payload := strings.Repeat(strings.Repeat("x", 1022)+"ß", 16<<10)
	var fragments []byte
	const part = 16 << 20 / (1 << 16)
	for i := range 1 << 16 {
		first := byte(0)
		switch i {
		case 0:
			first = 1
		case 1<<16 - 1:
			first = fin
		}
		fragments = append(fragments, frame(first, payload[i*part:(i+1)*part])...)
	}
	for name, stream := range map[string][]byte{"one frame": frame(fin|1, payload), "65536 fragments": fragments} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for len(stream) > 0 {
				n := min(len(stream), 64<<10)
				ev, _, ok, err := d.Next(stream[:n], new(Limits), false)
				if err != nil {
					t.Fatal(err)
				}
				stream = stream[n:]
				if held := d.Buffered(); held > 2*cap(d.msg) || held > 2*len(d.msg)+64 {
					t.Fatalf("%d bytes held for %d", held, len(d.msg))
				}
				if ok != (len(stream) == 0) || ok && string(ev.Data) != payload {
					t.Fatalf("message is wrong: ok %v with %d bytes to come", ok, len(stream))
				}
			}
			runtime.ReadMemStats(&after)
			if total := after.TotalAlloc - before.TotalAlloc; total > 4*16<<20 {
				t.Fatalf("%d bytes allocated for a message of 16 MiB", total)
			}
		})
	}
}

// TestAnnouncedIsNotAllocated: a header alone costs nothing.
func TestAnnouncedIsNotAllocated(t *testing.T) {
	var d Decoder
	_, _, _, err := d.Next(append(head(fin|2, maskBit|127, 0, 0, 0, 0, 1, 0, 0, 0), 1, 2, 3), new(Limits), false)
	if err != nil || d.Idle() || d.Buffered() > 64 {
		t.Fatalf("%v, idle %v, %d bytes held for 3", err, d.Idle(), d.Buffered())
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ name, payload string }{
		{"text128", strings.Repeat("x", 128)},
		{"text16K", strings.Repeat("x", 16<<10)},
		{"chinese16K", strings.Repeat("已收到你的消息", 16<<10/21)},
	} {
		b.Run(c.name, func(b *testing.B) {
			stream := frame(fin|1, c.payload)
			buf := make([]byte, len(stream))
			var d Decoder
			var lim Limits
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, stream)
				if _, _, ok, err := d.Next(buf, &lim, false); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
