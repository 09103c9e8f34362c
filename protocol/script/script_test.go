package script

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// parse cuts a stream into frames, which must be all of it.
func parse(t *testing.T, from Side, p []byte) (list []Frame) {
	t.Helper()
	for len(p) > 0 {
		f, size, err := from.Next(p)
		if err != nil || size == 0 || size > len(p) {
			t.Fatalf("%d bytes left: size %d, %v", len(p), size, err)
		}
		list, p = append(list, f), p[size:]
	}
	return list
}

// TestHeader holds the layout that other languages rely on.
func TestHeader(t *testing.T) {
	b := Frame{Op: Send, Flags: Binary, Aux: 0x0203, Conn: 0x1a_0b_0c_0d_0e_0f_10, Payload: []byte("hi")}.Append(nil)
	want := "\x02\x00\x00\x00" + "\x21" + "\x01" + "\x03\x02" + "\x10\x0f\x0e\x0d\x0c\x0b\x1a\x00" + "hi"
	if string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

// TestPayloads: what is written is read, for each op with a payload of parts.
func TestPayloads(t *testing.T) {
	o := Opening{Session: []byte(`{"a":"\u0000"}`), Remote: "192.0.2.1:4", Local: "websocket://0.0.0.0:2346", Target: "/chat?x=1", Head: []byte("GET / HTTP/1.1\r\n\r\n")}
	b := AppendOpen(nil, Resume, 7, o)
	b = AppendOpen(b, Open, 8, Opening{Session: make([]byte, MaxSession+1)})
	b = AppendPacket(b, Packet, "192.0.2.1:4", "udp://0.0.0.0:1", []byte("a\x00b"))
	b = append(AppendRequest(b, 9, "192.0.2.1:4", "http://0.0.0.0:1", 3), "GET"...)
	b = AppendNamed(b, Frame{Op: Channel, Flags: Binary}, "news", []byte("x"))
	b = AppendCarry(b, Carried, []uint64{1, MaxNumber}, []byte("opaque"))
	list := parse(t, FromWorker(0), b)
	if got, err := ParseOpen(list[0]); err != nil || string(got.Session) != string(o.Session) || got.Remote != o.Remote ||
		got.Local != o.Local || got.Target != o.Target || string(got.Head) != string(o.Head) || list[0].Conn != 7 {
		t.Errorf("open: %+v, %v", got, err)
	}
	if got, err := ParseOpen(list[1]); err != nil || len(got.Session) != 0 {
		t.Errorf("a session that does not fit: %d bytes, %v", len(got.Session), err)
	}
	if remote, local, data, err := ParsePacket(Packet, list[2].Payload); err != nil || remote != "192.0.2.1:4" || local != "udp://0.0.0.0:1" || string(data) != "a\x00b" {
		t.Errorf("packet: %q %q %q %v", remote, local, data, err)
	}
	if _, local, data, err := ParseRequest(list[3].Payload); err != nil || local != "http://0.0.0.0:1" || string(data) != "GET" {
		t.Errorf("request: %q %q %v", local, data, err)
	}
	if name, data, err := ParseNamed(Channel, list[4].Payload); err != nil || string(name) != "news" || string(data) != "x" {
		t.Errorf("named: %q %q %v", name, data, err)
	}
	if conns, data, err := ParseCarry(list[5].Payload); err != nil || conns.Len() != 2 || conns.At(1) != MaxNumber || string(data) != "opaque" {
		t.Errorf("carried: %v %q %v", conns, data, err)
	}
	list = parse(t, FromHandler, AppendTimer(AppendMany(nil, Binary, []uint64{3, 4}, []byte("all")), 5, 1500, true))
	if conns, data, err := ParseMany(list[0].Payload); err != nil || conns.Len() != 2 || conns.At(0) != 3 || string(data) != "all" {
		t.Errorf("many: %v %q %v", conns, data, err)
	}
	if ms, err := ParseCount(Timer, list[1].Payload); err != nil || ms != 1500 || list[1].Conn != 5 || list[1].Flags != On {
		t.Errorf("timer: %d %v %+v", ms, err, list[1])
	}
}

// TestBadFrames: what cannot be a frame is an error by its header alone, which
// says what it was.
func TestBadFrames(t *testing.T) {
	header := func(length uint32, op Op, flags byte) []byte {
		return binary.LittleEndian.AppendUint64(append(binary.LittleEndian.AppendUint32(nil, length), byte(op), flags, 0, 0), 1)
	}
	for name, c := range map[string]struct {
		from Side
		p    []byte
		err  error
		says string
	}{
		"4 GiB":            {FromHandler, header(1<<32-1, Send, 0), ErrTooLong, "SEND of 4294967295 bytes"},
		"long":             {FromHandler, header(MaxPayload+1, Session, 0), ErrTooLong, "SESSION"},
		"long carry":       {FromHandler, header(MaxCarry+1, Carry, 0), ErrTooLong, "CARRY"},
		"text":             {FromHandler, []byte("PHP Warning:  Undefined variable"), ErrGarbage, "something else"},
		"zeros":            {FromHandler, make([]byte, HeaderSize), ErrGarbage, "op 0"},
		"an event":         {FromHandler, header(0, Message, 0), ErrDirection, "MESSAGE"},
		"an order":         {FromWorker(0), header(0, Send, 0), ErrDirection, "SEND"},
		"vital":            {FromHandler, header(0, 60, FlagVital), ErrVital, "op 60"},
		"over the limit":   {FromWorker(10), header(11, Message, 0), ErrTooLong, "MESSAGE of 11 bytes"},
		"over the default": {FromWorker(0), header(MaxPayload+1, Message, 0), ErrTooLong, "MESSAGE"},
	} {
		_, size, err := c.from.Next(c.p)
		var fe *FrameError
		if !errors.As(err, &fe) || !errors.Is(err, c.err) || size != 0 || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, size %d", name, err, size)
		}
	}
	for name, p := range map[string][]byte{
		"unknown":   header(0, 60, 0),
		"carry":     header(MaxCarry, Carry, 0),
		"the limit": header(MaxPayload, Send, 0),
	} {
		if _, _, err := FromHandler.Next(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBadPayloads: a payload that lies about its parts is an error, not a panic.
func TestBadPayloads(t *testing.T) {
	for name, err := range map[string]error{
		"open":    second(ParseOpen(Frame{Op: Open, Aux: 9, Payload: []byte("12345678")})),
		"open 2":  second(ParseOpen(Frame{Op: Open, Payload: []byte("a\x00b")})),
		"many":    third(ParseMany([]byte{1})),
		"many 2":  third(ParseMany([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8})),
		"named":   third(ParseNamed(Publish, []byte{9, 0, 'x'})),
		"named 2": third(ParseNamed(Publish, []byte{9})),
		"count":   second(ParseCount(Timer, []byte{1, 2, 3})),
		"welcome": second(ParseWelcome([]byte("hello"))),
	} {
		if !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseWelcome([]byte(`{"version":2}`)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a later version: %v", err)
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// TestReader: frames come out whole however the stream is cut, unknown ones
// too, and its two ends are told apart.
func TestReader(t *testing.T) {
	var b []byte
	for i := range 50 {
		b = Frame{Op: Message, Conn: uint64(i), Payload: bytes.Repeat([]byte{byte(i)}, i*700)}.Append(b)
	}
	b = Frame{Op: 31}.Append(b)
	for name, in := range map[string]io.Reader{
		"whole": bytes.NewReader(b), "bytes": iotest.OneByteReader(bytes.NewReader(b)), "half": iotest.HalfReader(bytes.NewReader(b)),
	} {
		r := NewReader(in, FromWorker(0))
		for i := range 51 {
			f, err := r.Next()
			if err != nil || i < 50 && (f.Conn != uint64(i) || len(f.Payload) != i*700) {
				t.Fatalf("%s: frame %d is %d with %d bytes, %v", name, i, f.Conn, len(f.Payload), err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: the end is %v", name, err)
		}
	}
	r := NewReader(bytes.NewReader(b[:len(b)-HeaderSize-5]), FromWorker(0))
	var err error
	for err == nil {
		_, err = r.Next()
	}
	if err != io.ErrUnexpectedEOF {
		t.Errorf("cut in a frame: %v", err)
	}
}

// TestReaderTrusts: memory grows with what comes, not with what a header says.
func TestReaderTrusts(t *testing.T) {
	r := NewReader(bytes.NewReader(AppendHeader(nil, Frame{Op: Carry}, MaxCarry)), FromHandler)
	if _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if cap(r.buf) > 4*readAtOnce {
		t.Errorf("%d bytes for a header that promises %d", cap(r.buf), MaxCarry)
	}
}

// FuzzNext: any bytes are frames that can be written again, an error, or the
// beginning of one; and cut anywhere they are the same.
func FuzzNext(f *testing.F) {
	f.Add(Frame{Op: Send, Conn: 1, Payload: []byte("hi")}.Append(nil), 3)
	f.Add(AppendTimer(nil, 1, 2, true), 17)
	f.Add([]byte("HTTP/1.1 500 Internal Server Error\r\n"), 16)
	f.Add(AppendHeader(nil, Frame{Op: Carry}, 1<<31), 1)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		for _, from := range []Side{FromHandler, FromWorker(1000)} {
			fr, size, err := from.Next(p)
			switch {
			case err != nil:
				if size != 0 {
					t.Fatalf("an error with %d bytes", size)
				}
			case size > 0 && size <= len(p):
				if b := fr.Append(nil); !bytes.Equal(b, p[:size]) {
					t.Fatalf("%q became %q", p[:size], b)
				}
			}
			if cut = max(cut, 0) % (len(p) + 1); cut >= HeaderSize || err == nil {
				_, part, partErr := from.Next(p[:cut])
				if part > 0 && part != size || partErr != nil && err == nil {
					t.Fatalf("cut at %d: %d bytes, %v; whole: %d, %v", cut, part, partErr, size, err)
				}
			}
		}
	})
}

// TestLine: what Line has made of words Split takes apart.
func TestLine(t *testing.T) {
	for _, words := range [][]string{{"php", "start.php"}, {"a b", "", "it's", `"`, "'\"'", "\t", "--x=y"}} {
		if got, err := Split(Line(words)); err != nil || !slices.Equal(got, words) {
			t.Errorf("%q is %q, %v of %q", words, got, err, Line(words))
		}
	}
}

// FuzzPayload: no payload makes a parser read past it.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("a\x00b\x00c\x00d"), uint16(1))
	f.Add([]byte{2, 0, 0, 0, 1}, uint16(0))
	f.Fuzz(func(t *testing.T, p []byte, aux uint16) {
		if o, err := ParseOpen(Frame{Op: Open, Aux: aux, Payload: p}); err == nil && len(o.Session) <= MaxSession {
			got, err := ParseOpen(parse(t, FromWorker(1<<30), AppendOpen(nil, Open, 1, o))[0])
			if err != nil || got.Target != o.Target || string(got.Head) != string(o.Head) || string(got.Session) != string(o.Session) {
				t.Fatalf("%+v became %+v, %v", o, got, err)
			}
		}
		if n, data, err := ParseMany(p); err == nil && 4+8*n.Len()+len(data) != len(p) {
			t.Fatalf("%d numbers and %d bytes of %d", n.Len(), len(data), len(p))
		}
		if n, data, err := ParseNamed(Publish, p); err == nil && 2+len(n)+len(data) != len(p) {
			t.Fatal("a name of the wrong length")
		}
		if a, b, data, err := ParsePacket(Packet, p); err == nil && len(a)+len(b)+2+len(data) != len(p) {
			t.Fatal("places of the wrong length")
		}
		if n, err := ParseHeld(p); err == nil && 4+8*n.Len() > len(p) {
			t.Fatalf("%d numbers of %d bytes", n.Len(), len(p))
		}
		_, _ = ParseCount(Timer, p)
		_, _ = ParseWelcome(p)
	})
}
