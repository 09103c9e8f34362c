package http

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// looked returns how many bytes the Reader has looked at.
func looked(rd *Reader) int {
	n := rd.head.looked
	if rd.chunks != nil {
		n += rd.chunks.looked
	}
	return n
}

// TestEachByteIsLookedAtOnce: what comes byte by byte costs what it costs at
// once, whatever it is and however long it goes on.
func TestEachByteIsLookedAtOnce(t *testing.T) {
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	for name, raw := range map[string]string{
		"header":       get + "X: " + strings.Repeat("y", 50_000),
		"header lines": get + strings.Repeat("X: y\r\n", 10_000),
		"chunks":       chunked + strings.Repeat("1\r\na\r\n", 3000) + "0000",
		"large chunks": chunked + strings.Repeat("40\r\n"+strings.Repeat("a", 64)+"\r\n", 2000) + "0;",
		"extensions":   chunked + strings.Repeat("100;"+strings.Repeat("x", 200)+"\r\n"+strings.Repeat("a", 256)+"\r\n", 50),
		"trailer":      chunked + "0\r\nX: " + strings.Repeat("y", 16_000),
		"trailers":     chunked + "0\r\n" + strings.Repeat("X: y\r\n", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			for _, part := range []int{len(raw) / 2, len(raw)} {
				rd := new(Reader)
				allocs := testing.AllocsPerRun(1, func() {
					*rd = Reader{}
					if _, n, status := feedQuietly(rd, raw[:part]); n != 0 || status != 0 {
						t.Fatalf("%d bytes are a request, status %d", n, status)
					}
				})
				if n := looked(rd); n > part {
					t.Errorf("%d bytes were looked at of %d", n, part)
				}
				if most := 120.0; allocs > most { // the header once, and a body that grows
					t.Errorf("%.0f allocations for %d bytes", allocs, part)
				}
			}
		})
	}
}

// feedQuietly is feed byte by byte without a copy of its own for each.
func feedQuietly(rd *Reader, raw string) (r any, n, status int) {
	lim := &Limits{MaxBody: 1 << 20}
	wait, off := []byte(raw), 0
	for end := 1; end <= len(raw); end++ {
		r, used, err := advance(rd, wait[off:end], lim)
		if err != nil {
			return nil, 0, err.(*Error).Status
		}
		if off += used; r != nil {
			return r, off, 0
		}
	}
	return nil, 0, 0
}

// TestChunkLinesAreBounded: a body costs at most twice its data and 16 KiB.
func TestChunkLinesAreBounded(t *testing.T) {
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	end := "0\r\n\r\n"
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"a line of 256":     {"1;" + strings.Repeat("x", 252) + "\r\na\r\n" + end, 0},
		"of 257":            {"1;" + strings.Repeat("x", 253) + "\r\na\r\n" + end, 413},
		"without end":       {strings.Repeat("0", 256), 413},
		"some tiny chunks":  {strings.Repeat("1\r\na\r\n", 4000) + end, 0},
		"too many":          {strings.Repeat("1\r\na\r\n", 4200) + end, 413},
		"many small chunks": {strings.Repeat("10\r\n"+strings.Repeat("a", 16)+"\r\n", 10_000) + end, 0},
		"long extensions":   {strings.Repeat("1;"+strings.Repeat("x", 200)+"\r\na\r\n", 100) + end, 413},
		"trailers":          {strings.Repeat("1\r\na\r\n", 10) + "0\r\n" + strings.Repeat("X: y\r\n", 3000) + "\r\n", 413},
	} {
		for _, step := range []int{1, 4096, 1 << 20} {
			r, _, status := feed(t, new(Reader), []byte(chunked+c.body), step, &Limits{MaxBody: 1 << 20})
			if status != c.status || status == 0 && r == nil {
				t.Errorf("%s, in pieces of %d: status %d, want %d", name, step, status, c.status)
			}
		}
	}
}

// TestAppendIsTheSameRequest: at any byte another Reader can go on.
func TestAppendIsTheSameRequest(t *testing.T) {
	lim := &Limits{MaxHeader: 1 << 10, MaxHeaders: 10, MaxBody: 1000}
	for name, raw := range map[string]string{
		"length": post + "Content-Length: 10\r\n\r\n0123456789",
		"chunks": post + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\nY: z\r\n\r\n",
		"empty":  post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := read(t, []byte(raw), 1000)
			want, _ := io.ReadAll(r.Body)
			for cut := 1; cut < len(raw); cut++ {
				rd := new(Reader)
				wait := []byte(raw[:cut])
				for range 2 { // also of one that has gone on itself
					_, used, err := advance(rd, wait, lim)
					if err != nil {
						t.Fatal(err)
					}
					held := rd.Append(nil)
					if rd.Buffered() < len(held) {
						t.Fatalf("cut at %d: %d bytes are more than the %d that it says", cut, len(held), rd.Buffered())
					}
					wait = append(held, wait[used:]...)
					rd = new(Reader)
				}
				r, _, status := feed(t, rd, append(wait, raw[cut:]...), 3, lim)
				if status != 0 || r == nil {
					t.Fatalf("cut at %d: status %d, from %q", cut, status, wait)
				}
				if body, _ := io.ReadAll(r.Body); !bytes.Equal(body, want) || r.Header.Get("X") != "" {
					t.Fatalf("cut at %d: body %q, want %q", cut, body, want)
				}
			}
		})
	}
}

// FuzzPieces: a request is the same in any pieces, no byte is looked at twice,
// and another Reader can go on in between.
func FuzzPieces(f *testing.F) {
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	f.Add([]byte("\r\n"+post+"Content-Length: 5\r\n\r\nabcde"), 3, 70)
	f.Add([]byte(chunked+"3;x\r\nabc\r\n0\r\nX: y\r\n\r\n"), 1, 60)
	f.Add([]byte(chunked+strings.Repeat("1\r\na\r\n", 30)+"00000000"), 1, 80)
	lim := &Limits{MaxHeader: 1 << 10, MaxHeaders: 10, MaxBody: 64}
	f.Fuzz(func(t *testing.T, raw []byte, step, cut int) {
		if step < 1 {
			return
		}
		rd := new(Reader)
		want, n, status := feed(t, new(Reader), raw, len(raw)+1, lim)
		got, m, again := feed(t, rd, raw, step, lim)
		if status != again || (n == 0) != (m == 0) || n > 0 && (m < n || m >= n+step && step < len(raw)) {
			t.Fatalf("at once %d bytes, status %d; in pieces of %d: %d bytes, status %d", n, status, step, m, again)
		}
		if looked(rd) > len(raw) {
			t.Fatalf("%d bytes were looked at of %d", looked(rd), len(raw))
		}
		if n == 0 {
			return
		}
		body, _ := io.ReadAll(want.Body)
		if b, _ := io.ReadAll(got.Body); !bytes.Equal(b, body) {
			t.Fatalf("body %q, want %q", b, body)
		}
		if cut <= 0 || cut >= n {
			return
		}
		wait := bytes.Clone(raw[:cut])
		rd = new(Reader)
		_, used, err := advance(rd, wait, lim)
		if err != nil {
			t.Fatal(err)
		}
		wait = append(append(rd.Append(nil), wait[used:]...), raw[cut:]...)
		next, _, status := feed(t, new(Reader), wait, step, lim)
		if status != 0 || next == nil {
			t.Fatalf("cut at %d: status %d", cut, status)
		}
		if b, _ := io.ReadAll(next.Body); !bytes.Equal(b, body) {
			t.Fatalf("cut at %d: body %q, want %q", cut, b, body)
		}
	})
}
