package websocket

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	kflate "github.com/klauspost/compress/flate"
)

// samples are payloads of every nature, from a fixed seed.
func samples() map[string][]byte {
	rnd := rand.New(rand.NewPCG(7692, 6455))
	random := make([]byte, 100<<10)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	var json []byte
	for i := range 2000 {
		json = fmt.Appendf(json, `{"id":%d,"user":"u%d","text":"message number %d"},`, i, rnd.IntN(1000), rnd.IntN(100))
	}
	m := map[string][]byte{"empty": {}, "one": {'x'}, "hello": []byte("Hello"), "short": json[:100],
		"zeros": make([]byte, 100<<10), "random": random, "json": json}
	for bits := 8; bits <= 15; bits++ { // repeats at three quarters of a window
		m[fmt.Sprint("period", bits)] = bytes.Repeat(random[:3<<bits/4], 1<<16>>bits)
	}
	return m
}

// TestCompressEveryWindow: for each size of window, what AppendCompressed
// makes is inflated by the standard library to the same bytes, ends where RFC
// 7692 wants it to end, and never reaches back further than the window.
func TestCompressEveryWindow(t *testing.T) {
	for name, payload := range samples() {
		for bits := uint8(8); bits <= 15; bits++ {
			f := readFrame(t, AppendCompressed(nil, Binary, payload, bits))
			if !f.Header.Fin || f.Header.Rsv != 4 || f.Header.OpCode != 2 || len(f.Payload) == 0 {
				t.Fatalf("%s, %d bits: header %+v", name, bits, f.Header)
			}
			stream := append(bytes.Clone(f.Payload), flushMarker...)
			got, err := io.ReadAll(flate.NewReader(bytes.NewReader(append(stream, 1, 0, 0, 0xff, 0xff))))
			if err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("%s, %d bits: %d bytes became %d: %v", name, bits, len(payload), len(got), err)
			}
			if far := farthest(t, stream); far > 1<<bits {
				t.Errorf("%s, %d bits: a match reaches back %d bytes", name, bits, far)
			} else if name == fmt.Sprint("period", bits) && far != 3<<bits/4 {
				t.Errorf("%s: matches reach back %d bytes; the window is not used", name, far)
			}
		}
	}
}

// TestInflateEveryWindow: what clients make, by the standard library at each
// level and with each size of window, comes out the same, whole or in
// fragments, and through a move at each of them.
func TestInflateEveryWindow(t *testing.T) {
	type writer interface {
		io.Writer
		Flush() error
	}
	writers := map[string]func(io.Writer) (writer, error){}
	for level := -2; level <= 9; level++ {
		writers[fmt.Sprint("level ", level)] = func(w io.Writer) (writer, error) { return flate.NewWriter(w, level) }
	}
	for bits := 8; bits <= 15; bits++ {
		writers[fmt.Sprint("window ", bits)] = func(w io.Writer) (writer, error) { return kflate.NewWriterWindow(w, 1<<bits) }
	}
	for name, payload := range samples() {
		for kind, newWriter := range writers {
			var buf bytes.Buffer
			w, err := newWriter(&buf)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write(payload)
			_ = w.Flush()
			z := strings.TrimSuffix(buf.String(), flushMarker)
			half := len(z) / 2
			stream := join(frame(fin|0x40|2, z), frame(0x40|2, z[:half]), frame(0, ""), frame(fin, z[half:]))
			p := player{deflate: true, move: true, lim: Limits{MaxMessage: max(1, len(payload))}}
			out := p.play(t, stream, len(stream)/3, len(stream)/2, len(stream)/3*2)
			if want := "binary:" + string(payload); out.code != 0 || len(out.events) != 2 || out.events[0] != want || out.events[1] != want {
				t.Fatalf("%s, %s: code %d, %d events", name, kind, out.code, len(out.events))
			}
		}
	}
}

// TestInflateCutOff: a beginning of a compressed message is not taken for a
// message, but where the flush marker happens to complete its last block. RFC
// 7692 then calls it a message, and so does the standard library.
func TestInflateCutOff(t *testing.T) {
	for name, payload := range samples() {
		z := readFrame(t, AppendCompressed(nil, Binary, payload, 15)).Payload
		tries, refused := 0, 0
		for n := 0; n < len(z); n += 1 + len(z)/60 {
			tries++
			got, err := inflate(z[:n], 0)
			if err == errInflate {
				refused++
				continue
			}
			std, stdErr := io.ReadAll(flate.NewReader(strings.NewReader(string(z[:n]) + streamEnd)))
			if err != nil || stdErr != nil || !bytes.Equal(got, std) {
				t.Errorf("%s cut to %d of %d: %d bytes, %v; standard library %d, %v", name, n, len(z), len(got), err, len(std), stdErr)
			}
		}
		if refused < tries*9/10 {
			t.Errorf("%s: %d of %d beginnings refused", name, refused, tries)
		}
	}
}

// TestBomb: a message that inflates a thousandfold is stopped at the limit.
func TestBomb(t *testing.T) {
	bomb := string(readFrame(t, AppendCompressed(nil, Text, make([]byte, 60<<20), 15)).Payload)
	lim := Limits{MaxMessage: 64 << 10}
	if len(bomb) > lim.MaxMessage*9/8 {
		bomb = bomb[:lim.MaxMessage*9/8] // still inflates to far more than the limit
	}
	stream := frame(fin|0x40|1, bomb)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var d Decoder
	_, _, ok, err := d.Next(stream, &lim, true)
	runtime.ReadMemStats(&after)
	if ok || err != errTooBig {
		t.Fatalf("ok %v, %v", ok, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// TestIncompressibleAtTheLimit: "compressing" may lengthen a message that is
// within the limit; it stays within.
func TestIncompressibleAtTheLimit(t *testing.T) {
	random := samples()["random"]
	for _, n := range []int{1, 100, 64 << 10, len(random)} {
		var buf bytes.Buffer
		w, _ := flate.NewWriter(&buf, flate.NoCompression)
		for i := 0; i < n; i += 100 { // in stored blocks of 100 bytes
			_, _ = w.Write(random[i:min(i+100, n)])
			_ = w.Flush()
		}
		z := strings.TrimSuffix(buf.String(), flushMarker)
		out := player{deflate: true, lim: Limits{MaxMessage: n}}.play(t, frame(fin|0x40|2, z))
		if out.code != 0 || len(out.events) != 1 {
			t.Errorf("%d bytes as %d: code %d", n, len(z), out.code)
		}
	}
}

func TestCompressPanicsForBadWindow(t *testing.T) {
	for _, bits := range []uint8{0, 7, 16, 255} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d bits: compressed", bits)
				}
			}()
			AppendCompressed(nil, Text, nil, bits)
		}()
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"))
	f.Add([]byte("\x00\x05\x00\xfa\xffHello\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		const limit = 1 << 16
		got, err := inflate(p, limit)
		if len(got) > limit {
			t.Fatalf("%d bytes for a limit of %d", len(got), limit)
		}
		// The standard library must agree, final blocks apart, after which it
		// reads no further.
		src := bytes.NewReader(append(bytes.Clone(p), streamEnd...))
		std, stdErr := io.ReadAll(io.LimitReader(flate.NewReader(src), limit+1))
		final := src.Len() > 0 && stdErr == nil
		switch {
		case len(std) > limit:
			if err != errTooBig {
				t.Fatalf("inflates to over %d bytes: %v", limit, err)
			}
		case stdErr != nil:
			if err != errInflate {
				t.Fatalf("standard library: %v; inflate: %v", stdErr, err)
			}
		case !final && (err != nil || !bytes.Equal(got, std)):
			t.Fatalf("%d bytes, %v; standard library %d", len(got), err, len(std))
		case final && err == nil && !bytes.HasPrefix(got, std):
			t.Fatal("differs from the standard library before a final block")
		}
		if err == nil && utf8.Valid(got) {
			z := readFrame(t, AppendCompressed(nil, Text, got, 9)).Payload
			if again, err := inflate(z, limit); err != nil || !bytes.Equal(again, got) {
				t.Fatalf("compressed again: %v", err)
			}
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	payload := samples()["json"][:4<<10]
	for _, bits := range []uint8{15, 12, 8} {
		b.Run(fmt.Sprint("window", bits), func(b *testing.B) {
			dst := make([]byte, 0, 8<<10)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				AppendCompressed(dst, Text, payload, bits)
			}
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	payload := samples()["json"][:4<<10]
	z := readFrame(b, AppendCompressed(nil, Text, payload, 15)).Payload
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inflate(z, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
