package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The handshake of RFC 6455, section 1.3, without its optional lines.
const (
	requestLine = "GET /chat?room=1 HTTP/1.1\r\n"
	sampleLines = "Host: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	sample       = requestLine + sampleLines + "\r\n"
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// with is the sample with more header lines.
func with(lines string) string { return requestLine + sampleLines + lines + "\r\n" }

// instead is the sample with old replaced.
func instead(old, new string) string {
	if !strings.Contains(sample, old) {
		panic("sample has no " + old)
	}
	return strings.Replace(sample, old, new, 1)
}

func accept(*Request) Answer { return Answer{} }

// upgrade runs Upgrade and checks what holds for every outcome.
func upgrade(t testing.TB, block string, o Options, decide func(*Request) Answer) (*http.Response, Result, error) {
	t.Helper()
	const before = "earlier output"
	b := []byte(block)
	out, res, err := Upgrade([]byte(before), b, o, decide)
	if string(b) != block {
		t.Fatalf("%q: the block was changed to %q", block, b)
	}
	response, ok := bytes.CutPrefix(out, []byte(before))
	if !ok {
		t.Fatalf("%q: dst was overwritten", block)
	}
	if err == ErrDeferred {
		if len(response) > 0 {
			t.Fatalf("%q: deferred, but answered %q", block, response)
		}
		return nil, res, err
	}
	if err != nil && res != (Result{}) {
		t.Fatalf("%q: refused with result %+v", block, res)
	}
	return readResponse(t, response), res, err
}

// readResponse reads response with net/http and demands that it be complete.
func readResponse(t testing.TB, response []byte) *http.Response {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(response))
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("response %q: %v", response, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if r.Buffered() > 0 {
			t.Fatalf("bytes after the 101: %q", response)
		}
		return resp
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || int64(len(body)) != resp.ContentLength || r.Buffered() > 0 || !resp.Close {
		t.Fatalf("response %q: length %d, close %v, %v", response, resp.ContentLength, resp.Close, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

func TestUpgradeAccepts(t *testing.T) {
	for name, block := range map[string]string{
		"sample":                sample,
		"any case":              strings.NewReplacer("Upgrade: websocket", "uPGRADE: WebSocket", "Connection: Upgrade", "CONNECTION: uPgRaDe", "Key:", "KEY:").Replace(sample),
		"no spaces":             strings.ReplaceAll(sample, ": ", ":"),
		"spaces":                instead("Upgrade: websocket", "Upgrade: \t websocket\t "),
		"connection list":       instead("Connection: Upgrade", "Connection: keep-alive , upgrade,"),
		"connection in 2 lines": instead("Connection: Upgrade", "Connection: keep-alive\r\nX: y\r\nConnection: Upgrade"),
		"line over 4 KiB":       with("Cookie: " + strings.Repeat("x", 9000) + "\r\n"),
		"200 lines":             with(strings.Repeat("X: y\r\n", 200)),
		"obs-text":              with("X: t\xe4glich\r\n"),
		"empty value":           with("X:\r\n"),
		"length 0":              with("Content-Length: 0\r\n"),
		"raw characters in URI": instead("room=1", `a={"x":[1|2^3]}`),
		"HTTP/1.2":              instead("HTTP/1.1", "HTTP/1.2"),
		"IPv6":                  instead("server.example.com", "[::1]:2346"),
	} {
		called := 0
		resp, res, err := upgrade(t, block, Options{}, func(*Request) Answer { called++; return Answer{} })
		if err != nil || resp.StatusCode != 101 || res != (Result{}) || called != 1 {
			t.Errorf("%s: %v, %+v, decide called %d times", name, err, res, called)
			continue
		}
		h := resp.Header
		if h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" || h.Get("Sec-WebSocket-Accept") != sampleAccept || len(h) != 3 {
			t.Errorf("%s: %v", name, h)
		}
	}
}

func TestUpgradeRefuses(t *testing.T) {
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, c := range []struct {
		name   string
		block  string
		status int
		cause  string
	}{
		{"POST", instead("GET", "POST"), 405, "method"},
		{"lower case method", instead("GET", "get"), 405, "method"},
		{"HTTP/1.0", instead("HTTP/1.1", "HTTP/1.0"), 505, "http_version"},
		{"HTTP/2.0", instead("HTTP/1.1", "HTTP/2.0"), 505, "http_version"},
		{"HTTP/1.10", instead("HTTP/1.1", "HTTP/1.10"), 400, "malformed"},
		{"http/1.1", instead("HTTP/1.1", "http/1.1"), 400, "malformed"},
		{"no version", instead(" HTTP/1.1", ""), 400, "malformed"},
		{"two spaces", instead("GET ", "GET  "), 400, "malformed"},
		{"space at the end", instead("HTTP/1.1", "HTTP/1.1 "), 400, "malformed"},
		{"empty line first", "\r\n" + sample, 400, "malformed"},

		{"no path", instead("/chat?room=1", "chat"), 400, "target"},
		{"asterisk", instead("/chat?room=1", "*"), 400, "target"},
		{"fragment", instead("room=1", "room=1#top"), 400, "target"},
		{"URI not ASCII", instead("room", "r\u00f6\u00f6m"), 400, "target"},
		{"tab in URI", instead("room", "ro\tom"), 400, "target"},
		{"NUL in URI", instead("room", "ro\x00om"), 400, "target"},
		{"ftp", instead("/chat?room=1", "ftp://h/"), 400, "target"},
		{"absolute without host", instead("/chat?room=1", "http:///chat"), 400, "host"},
		{"absolute and empty host", strings.Replace(instead("/chat?room=1", "http://h/"), "server.example.com", "", 1), 400, "host"},
		{"absolute and no host", strings.Replace(instead("/chat?room=1", "http://h/"), "Host: server.example.com\r\n", "", 1), 400, "host"},
		{"absolute with user", instead("/chat?room=1", "http://u@h/"), 400, "host"},

		{"bare LF", strings.ReplaceAll(sample, "\r\n", "\n"), 400, "malformed"},
		{"one bare LF", instead("websocket\r\n", "websocket\n"), 400, "malformed"},
		{"bare CR", with("X: a\rb\r\n"), 400, "malformed"},
		{"CR CR LF", with("X: a\r\r\n"), 400, "malformed"},
		{"NUL in value", with("X: a\x00b\r\n"), 400, "malformed"},
		{"folded line", with("X: a\r\n b\r\n"), 400, "malformed"},
		{"folded first line", requestLine + " X: y\r\n" + sampleLines + "\r\n", 400, "malformed"},
		{"space before colon", with("X : y\r\n"), 400, "malformed"},
		{"no colon", with("X\r\n"), 400, "malformed"},
		{"no name", with(": y\r\n"), 400, "malformed"},
		{"name not a token", with("X(y): z\r\n"), 400, "malformed"},
		{"name not ASCII", with("X\u00e4: z\r\n"), 400, "malformed"},
		{"no empty line", strings.TrimSuffix(sample, "\r\n"), 400, "malformed"},
		{"cut off", sample[:40], 400, "malformed"},
		{"nothing", "", 400, "malformed"},
		{"bytes after it", sample + "x", 400, "malformed"},
		{"a second request", sample + sample, 400, "malformed"},
		{"too many lines", with("X: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\n"), 431, "headers"},

		{"body", with("Content-Length: 5\r\n"), 400, "body"},
		{"chunked body", with("Transfer-Encoding: chunked\r\n"), 400, "body"},

		{"no host", instead("Host: server.example.com\r\n", ""), 400, "host"},
		{"empty host", instead("server.example.com", ""), 400, "host"},
		{"two hosts", with("Host: server.example.com\r\n"), 400, "host"},
		{"host with a path", instead("server.example.com", "server/x"), 400, "host"},
		{"host with a space", instead("server.example.com", "a b"), 400, "host"},
		{"two origins", with("Origin: a\r\nOrigin: a\r\n"), 400, "origin"},

		{"no upgrade", instead("Upgrade: websocket\r\n", ""), 426, "upgrade"},
		{"upgrade to h2c", instead("Upgrade: websocket", "Upgrade: h2c"), 400, "upgrade"},
		{"upgrade with a long s", instead("websocket", "web\u017focket"), 400, "upgrade"},
		{"no connection", instead("Connection: Upgrade\r\n", ""), 400, "connection"},
		{"connection close", instead("Connection: Upgrade", "Connection: close"), 400, "connection"},
		{"connection closed twice", instead("Connection: Upgrade", "Connection: close\r\nConnection: close"), 400, "connection"},
		{"connection malformed", instead("Connection: Upgrade", "Connection: Upgrade, @"), 400, "connection"},
		{"connection not a token of it", instead("Connection: Upgrade", "Connection: no-upgrade"), 400, "connection"},

		{"no key", instead(key, ""), 400, "key"},
		{"empty key", instead("dGhlIHNhbXBsZSBub25jZQ==", ""), 400, "key"},
		{"two keys", with(key), 400, "key"},
		{"short key", instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400, "key"},
		{"key of 18 bytes", instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQab"), 400, "key"},
		{"key not base64", instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q=="), 400, "key"},
		{"key of base64url", instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25-_Q=="), 400, "key"},

		{"no version of WebSocket", instead("Sec-WebSocket-Version: 13\r\n", ""), 400, "version"},
		{"version 8", instead("Version: 13", "Version: 8"), 426, "version"},
		{"version 013", instead("Version: 13", "Version: 013"), 426, "version"},
		{"two versions", with("Sec-WebSocket-Version: 13\r\n"), 400, "version"},

		{"protocol list malformed", with("Sec-WebSocket-Protocol: a b\r\n"), 400, "subprotocol"},
		{"protocol list empty", with("Sec-WebSocket-Protocol: ,\r\n"), 400, "subprotocol"},
		{"protocol twice", with("Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: a\r\n"), 400, "subprotocol"},
		{"33 protocols", with("Sec-WebSocket-Protocol: " + strings.Join(strings.Split("abcdefghijklmnopqrstuvwxyz0123456", ""), ",") + "\r\n"), 400, "subprotocol"},
		{"extensions malformed", with("Sec-WebSocket-Extensions: a b\r\n"), 400, "extensions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, _, err := upgrade(t, c.block, Options{MaxHeaders: 10}, func(*Request) Answer {
				t.Error("decide was called")
				return Answer{}
			})
			var he *HandshakeError
			if !errors.As(err, &he) || he.Status != c.status || he.Cause != c.cause || resp.StatusCode != c.status {
				t.Fatalf("got %d, %v; want %d (%s)", resp.StatusCode, err, c.status, c.cause)
			}
			wantVersion := c.status == 426 || c.cause == "version"
			if got := resp.Header.Get("Sec-WebSocket-Version") == "13"; got != wantVersion {
				t.Errorf("Sec-WebSocket-Version: 13 sent: %v, want %v", got, wantVersion)
			}
			if (resp.Header.Get("Allow") == "GET") != (c.status == 405) || (resp.Header.Get("Upgrade") == "websocket") != (c.status == 426) {
				t.Errorf("header %v", resp.Header)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	block := with("Origin: https://a.example\r\nCookie: a=b\r\nSec-WebSocket-Protocol: v2, v1\r\nCOOKIE: c=d\r\nSec-WebSocket-Protocol: x\r\n")
	_, res, err := upgrade(t, block, Options{}, func(r *Request) Answer {
		if string(r.URI) != "/chat?room=1" || string(r.Host) != "server.example.com" || string(r.Origin) != "https://a.example" {
			t.Errorf("%s, %s, %s", r.URI, r.Host, r.Origin)
		}
		if string(r.Header("cookie")) != "a=b" || r.Header("authorization") != nil {
			t.Errorf("cookie %q, authorization %q", r.Header("cookie"), r.Header("authorization"))
		}
		var protocols []string
		for p := range r.Protocols() {
			protocols = append(protocols, string(p))
		}
		if !slices.Equal(protocols, []string{"v2", "v1", "x"}) || !r.Offers("x") || r.Offers("X") || r.Offers("") {
			t.Errorf("protocols %q", protocols)
		}
		n := 0
		for range r.Headers() {
			n++
		}
		if n != 10 {
			t.Errorf("%d header lines", n)
		}
		return Answer{Subprotocol: "v1"}
	})
	if err != nil || res.Subprotocol != "v1" {
		t.Fatal(res, err)
	}
}

func TestAbsoluteTarget(t *testing.T) {
	for target, want := range map[string]string{
		"http://h:1/a?b":  "h:1 /a?b",
		"HTTPS://h/":      "h /",
		"http://h":        "h /",
		"http://h?b":      "h /?b",
		"http://[::1]/x/": "[::1] /x/",
	} {
		_, _, err := upgrade(t, instead("/chat?room=1", target), Options{}, func(r *Request) Answer {
			if got := string(r.Host) + " " + string(r.URI); got != want {
				t.Errorf("%s: %q, want %q", target, got, want)
			}
			return Answer{}
		})
		if err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	block := with("Sec-WebSocket-Protocol: a, b\r\n")
	for _, c := range []struct {
		name   string
		answer Answer
		status int
		cause  string
		field  string // "Name: value" in the response
		body   string
	}{
		{name: "subprotocol", answer: Answer{Subprotocol: "b"}, status: 101, field: "Sec-Websocket-Protocol: b"},
		{name: "header", answer: Answer{Header: []Field{{"Set-Cookie", "a=b"}}}, status: 101, field: "Set-Cookie: a=b"},
		{name: "refuse", answer: Answer{Status: 403}, status: 403, cause: "refused", body: "Forbidden\n"},
		{name: "refuse with all", answer: Answer{Status: 401, Cause: "token", Body: "{}", Header: []Field{{"content-type", "application/json"}}},
			status: 401, cause: "token", field: "Content-Type: application/json", body: "{}"},
		{name: "redirect", answer: Answer{Status: 307, Header: []Field{{"Location", "/x"}}}, status: 307, cause: "refused", field: "Location: /x", body: "Temporary Redirect\n"},
		{name: "handler's own 500", answer: Answer{Status: 500, Body: "sorry"}, status: 500, cause: "refused", body: "sorry"},

		{name: "status 200", answer: Answer{Status: 200}, status: 500, cause: "answer"},
		{name: "status 101", answer: Answer{Status: 101}, status: 500, cause: "answer"},
		{name: "status 600", answer: Answer{Status: 600}, status: 500, cause: "answer"},
		{name: "subprotocol not offered", answer: Answer{Subprotocol: "c"}, status: 500, cause: "answer"},
		{name: "CRLF in a value", answer: Answer{Header: []Field{{"X", "y\r\nZ: z"}}}, status: 500, cause: "answer"},
		{name: "LF in a refusal", answer: Answer{Status: 403, Header: []Field{{"X", "y\n"}}}, status: 500, cause: "answer"},
		{name: "CRLF in a name", answer: Answer{Header: []Field{{"X\r\nY", "z"}}}, status: 500, cause: "answer"},
		{name: "no name", answer: Answer{Header: []Field{{"", "z"}}}, status: 500, cause: "answer"},
		{name: "reserved", answer: Answer{Header: []Field{{"upgrade", "x"}}}, status: 500, cause: "answer"},
		{name: "reserved prefix", answer: Answer{Header: []Field{{"Sec-WebSocket-Accept", "x"}}}, status: 500, cause: "answer"},
		{name: "content length", answer: Answer{Status: 403, Header: []Field{{"Content-Length", "0"}}}, status: 500, cause: "answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, _, err := upgrade(t, block, Options{}, func(*Request) Answer { return c.answer })
			var he *HandshakeError
			if resp.StatusCode != c.status || errors.As(err, &he) != (c.status != 101) || he != nil && (he.Cause != c.cause || he.Status != c.status) {
				t.Fatalf("%d, %v", resp.StatusCode, err)
			}
			if name, value, ok := strings.Cut(c.field, ": "); ok && !slices.Equal(resp.Header[name], []string{value}) {
				t.Errorf("header %v, want %s", resp.Header, c.field)
			}
			if c.cause == "answer" {
				c.body = "Internal Server Error\n"
			}
			if body, _ := io.ReadAll(resp.Body); c.status != 101 && string(body) != c.body {
				t.Errorf("body %q, want %q", body, c.body)
			}
		})
	}
}

// TestDeferred: nothing is written until the answer is known.
func TestDeferred(t *testing.T) {
	_, _, err := upgrade(t, sample, Options{Compression: true}, func(*Request) Answer { return Answer{Deferred: true} })
	if err != ErrDeferred {
		t.Fatal(err)
	}
	if resp, _, err := upgrade(t, sample, Options{}, accept); err != nil || resp.StatusCode != 101 {
		t.Fatal(err)
	}
}

func TestIsUpgrade(t *testing.T) {
	for block, want := range map[string]bool{
		sample:                                 true,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":    false,
		instead("websocket", "h2c"):            false,
		instead("websocket", "h2c, WebSocket"): true,
		"":                                     false,
		"GET /":                                false,
		"GET / HTTP/1.1\r\n\r\nUpgrade: websocket\r\n\r\n": false,
	} {
		if got := IsUpgrade([]byte(block)); got != want {
			t.Errorf("%q: %v", block, got)
		}
	}
}

// browser is what Chromium sends.
const browser = requestLine + sampleLines + "Pragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Origin: http://server.example.com\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

func BenchmarkUpgrade(b *testing.B) {
	for name, block := range map[string]string{"minimal": sample, "browser": browser} {
		b.Run(name, func(b *testing.B) {
			dst, block := make([]byte, 0, 1<<10), []byte(block)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Upgrade(dst, block, Options{}, accept); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
