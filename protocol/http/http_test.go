package http

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"

// feed is what the owner of a connection does: it gives the Reader what comes, in
// pieces of step bytes, and keeps what is left. n is how much the request took, 0
// for an incomplete one, status that of the refusal.
func feed(t testing.TB, rd *Reader, buf []byte, step int, lim *Limits) (r *http.Request, n, status int) {
	t.Helper()
	var wait []byte
	for came := 0; came < len(buf); {
		end := min(came+step, len(buf))
		wait = append(wait, buf[came:end]...)
		came = end
		r, used, err := advance(rd, wait, lim)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no Error", err)
		} else if err != nil {
			return nil, 0, e.Status
		}
		wait = bytes.Clone(wait[used:]) // nothing of the request is in memory that others use
		if r != nil {
			return r, came - len(wait), 0
		}
		rd.Keep()
	}
	return nil, 0, 0
}

// advance makes one attempt.
func advance(rd *Reader, b []byte, lim *Limits) (r *http.Request, used int, err error) {
	if !rd.Begun() {
		skip, n, err := rd.Head(b, lim)
		if n == 0 || err != nil {
			return nil, skip, err
		}
		if _, err := rd.Begin(b[skip:skip+n], lim); err != nil {
			return nil, 0, err
		}
		used = skip + n
	}
	r, n, err := rd.Body(b[used:], lim)
	return r, used + n, err
}

// read takes a request that has come in one piece.
func read(t testing.TB, buf []byte, limit int) (r *http.Request, n, status int) {
	t.Helper()
	return feed(t, new(Reader), buf, len(buf)+1, &Limits{MaxHeader: 1 << 10, MaxHeaders: 10, MaxBody: limit})
}

func TestRequests(t *testing.T) {
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		request, body string
		status        int
	}{
		"plain":          {get + "\r\n", "", 0},
		"body":           {post + "Content-Length: 3\r\n\r\nabc", "abc", 0},
		"chunks":         {chunked + "3;x=y\r\nabc\r\nA ; x = \"q \\\"\" ;y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", "abc0123456789", 0},
		"1.0":            {"GET / HTTP/1.0\r\n\r\n", "", 0},
		"CL and TE":      {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", 400},
		"two CL":         {post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "", 400},
		"list of CL":     {post + "Content-Length: 3, 3\r\n\r\nabc", "", 400},
		"negative":       {post + "Content-Length: -1\r\n\r\n", "", 400},
		"plus":           {post + "Content-Length: +1\r\n\r\na", "", 400},
		"2^64":           {post + "Content-Length: 18446744073709551616\r\n\r\n", "", 400},
		"huge":           {post + "Content-Length: 9223372036854775807\r\n\r\n", "", 413},
		"two TE":         {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "", 400},
		"gzip":           {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", "", 501},
		"identity":       {post + "Transfer-Encoding: identity\r\n\r\n", "", 501},
		"TE, 1.0":        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "", 400},
		"TE, space":      {post + "Transfer-Encoding : chunked\r\n\r\n", "", 400},
		"obs-fold":       {get + "X: y\r\n z\r\n\r\n", "", 400},
		"bare LF":        {get + "X: y\nZ: z\r\n\r\n", "", 400},
		"bare CR":        {get + "X: y\rZ: z\r\n\r\n", "", 400},
		"NUL":            {get + "X: \x00\r\n\r\n", "", 400},
		"no name":        {get + ": y\r\n\r\n", "", 400},
		"two hosts":      {get + "Host: b\r\n\r\n", "", 400},
		"no host":        {"GET http://a/ HTTP/1.1\r\n\r\n", "", 400},
		"host with path": {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "", 400},
		"empty line":     {"\r\n" + get + "\r\n", "", 0},
		"empty lines":    {"\r\n\r\n" + chunked + "1\r\nx\r\n0\r\n\r\n", "x", 0},
		"too many":       {"\r\n\r\n\r\n\r\n\r\n" + get + "\r\n", "", 400},
		"bare LF before": {"\n" + get + "\r\n", "", 400},
		"bare CR before": {"\r" + get + "\r\n", "", 400},
		"HTTP/2":         {"PRI * HTTP/2.0\r\n\r\n", "", 505},
		"expectation":    {post + "Expect: gold\r\n\r\n", "", 417},
		"lines":          {get + strings.Repeat("X: y\r\n", 10) + "\r\n", "", 431},
		"long line":      {get + "X: " + strings.Repeat("y", 1<<10), "", 431},
		"long body":      {post + "Content-Length: 21\r\n\r\n", "", 413},
		"long chunk":     {chunked + "15\r\n", "", 413},
		"long chunks":    {chunked + "b\r\n01234567890\r\na\r\n", "", 413},
		"endless":        {chunked + "1;" + strings.Repeat("x", 5<<10), "", 413},
		"chunk LF":       {chunked + "3\nabc\r\n0\r\n\r\n", "", 400},
		"chunk too long": {chunked + "3\r\nabcd\r\n0\r\n\r\n", "", 400},
		"chunk space":    {chunked + "5 \r\n", "", 400},
		"chunk semi":     {chunked + "5;\r\n", "", 400},
		"chunk bracket":  {chunked + "5;a[b]=c\r\n", "", 400},
		"chunk quote":    {chunked + "5;a=\"b\r\n", "", 400},
		"chunk quoted":   {chunked + "5;a=\"b\"c\r\n", "", 400},
		"chunk value":    {chunked + "5;a=\r\n", "", 400},
		"chunk name":     {chunked + "5;=a\r\n", "", 400},
		"chunk end":      {chunked + "5;a=b \r\n", "", 400},
		"chunk begin":    {chunked + " 5\r\n", "", 400},
		"chunk plus":     {chunked + "+5\r\n", "", 400},
		"chunk none":     {chunked + "\r\n", "", 400},
		"chunk utf8":     {chunked + "5;\xc3\xbc\r\n", "", 400},
		"target utf8":    {"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"overlong utf8":  {"GET /\xc0\xaf HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target query":   {"GET /?\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target star":    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target stars":   {"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"options":        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "", 0},
		"target part":    {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target word":    {"GET x HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target opaque":  {"GET http:x HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target nohost":  {"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"target mail":    {"GET mailto:x HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"absolute":       {"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "", 0},
		"raw query":      {"GET /x?a={\"b\"}|^` HTTP/1.1\r\nHost: a\r\n\r\n", "", 0},
		"two spaces":     {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "", 400},
		"no version":     {"GET /\r\n\r\n", "", 400},
		"chunk size":     {chunked + "-3\r\n", "", 400},
		"chunk 0x":       {chunked + "0x3\r\n", "", 400},
		"huge chunk":     {chunked + "ffffffffffffffff\r\n", "", 400},
		"trailer LF":     {chunked + "0\r\nX: y\n\nGET / HTTP/1.1\r\n\r\n", "", 400},
		"folded trailer": {chunked + "0\r\n x\r\n\r\n", "", 400},
	} {
		t.Run(name, func(t *testing.T) {
			const next = "GET /next"
			buf := []byte(c.request + next)
			for cut := range len(c.request) { // in any pieces: not ready, or refused early
				if _, n, status := read(t, buf[:cut], 20); n != 0 || status != 0 && status != c.status {
					t.Fatalf("of %d bytes %d are a request, status %d", cut, n, status)
				}
			}
			for _, step := range []int{1, 2, 7, len(buf)} {
				r, n, status := feed(t, new(Reader), buf, step, &Limits{1 << 10, 10, 20})
				if status != c.status {
					t.Fatalf("status %d, want %d", status, c.status)
				}
				if status != 0 {
					continue
				}
				body, _ := io.ReadAll(r.Body)
				if n < len(c.request) || n >= len(c.request)+step || string(body) != c.body {
					t.Fatalf("%d bytes of %d, body %q", n, len(c.request), body)
				}
			}
		})
	}
}

// TestChunkIsBelowAGiB, also where no limit is set.
func TestChunkIsBelowAGiB(t *testing.T) {
	for size, want := range map[string]int{"3fffffff": 0, "40000000": 400} {
		if _, _, status := feed(t, new(Reader), []byte(post+"Transfer-Encoding: chunked\r\n\r\n"+size+"\r\n"), 7, &Limits{}); status != want {
			t.Errorf("a chunk of %s bytes: status %d, want %d", size, status, want)
		}
	}
}

func TestUnlimitedLengthDoesNotOverflow(t *testing.T) {
	buf := []byte(post + "Content-Length: 9223372036854775807\r\n\r\nabc")
	rd := new(Reader)
	if _, n, status := feed(t, rd, buf, 5, &Limits{}); n != 0 || status != 0 || !rd.Begun() {
		t.Fatalf("n %d, status %d", n, status)
	}
}

func TestOldClientsGetNoContinueAndAreClosed(t *testing.T) {
	block := []byte("POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	rd := new(Reader)
	if expects, err := rd.Begin(block, &Limits{}); expects || err != nil {
		t.Fatalf("expects %v, %v", expects, err)
	}
	if r, _, err := rd.Body([]byte("x"), &Limits{}); err != nil || !r.Close {
		t.Fatalf("%+v, %v", r, err)
	}
}

// What a handler sets cannot change where its response ends.
func TestResponseCannotBeSplit(t *testing.T) {
	for _, status := range []int{200, 204, 304, 99, 101, 1000} {
		h := http.Header{
			"X": {"a\r\nSet-Cookie: b"}, "Y\r\nZ": {"c"}, "content-length": {"99"}, "transfer-encoding": {"chunked"},
			"connection": {"x"}, "Upgrade": {"websocket"},
		}
		raw := AppendHead(nil, status, h, 3, true, "now")
		if HasBody(status) {
			raw = append(raw, "abc"...)
		}
		r := bufio.NewReader(bytes.NewReader(append(raw, "next"...)))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		rest, _ := io.ReadAll(r)
		if err != nil || string(rest) != "next" || HasBody(status) != (string(body) == "abc") || resp.Header.Get("Set-Cookie") != "" ||
			!resp.Close || strings.Count(strings.ToLower(string(raw)), "connection:") != 1 || strings.Contains(string(raw), "Z") {
			t.Errorf("status %d: body %q, rest %q, %q", status, body, rest, raw)
		}
	}
}

// FuzzRead: what is accepted is the same request to net/http, and of the same
// length, and was accepted in no shorter part.
func FuzzRead(f *testing.F) {
	f.Add([]byte(get+"\r\n"), 5)
	f.Add([]byte(post+"Content-Length: 3\r\n\r\nabc"), 40)
	f.Add([]byte(post+"Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n"), 60)
	f.Fuzz(func(t *testing.T, buf []byte, cut int) {
		r, n, status := read(t, buf, 64)
		if status != 0 || n == 0 {
			return
		}
		before := len(buf)
		if cut >= 0 && cut < n {
			if _, part, status := read(t, buf[:cut], 64); part != 0 || status != 0 {
				t.Fatalf("%d of %d bytes: %d, status %d", cut, n, part, status)
			}
		}
		buf = bytes.TrimLeft(buf, "\r\n") // which net/http's server skips
		n -= before - len(buf)
		src := bufio.NewReaderSize(bytes.NewReader(buf), len(buf)+16)
		ref, err := http.ReadRequest(src)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(ref.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(r.Body)
		if !bytes.Equal(got, want) || r.Method != ref.Method || r.RequestURI != ref.RequestURI || len(buf)-src.Buffered() != n {
			t.Fatalf("body %q of %d bytes in all; net/http: %q of %d", got, n, want, len(buf)-src.Buffered())
		}
	})
}
