package php_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const web = `
use Workerman\Worker;
use Workerman\Protocols\Http\Response;
use Workerman\Protocols\Http\ServerSentEvents;
$w = new Worker('http://0.0.0.0:2346');
$w->onMessage = function ($c, $r) {
    switch ($r->path()) {
        case '/body': $c->send(json_encode([$r->method(), $r->rawBody(), $r->header('transfer-encoding'), $r->trailer('x-sum')])); break;
        case '/part': $c->send((new Response)->withFile('page.txt', 10, 5)); break;
        case '/file': $c->send((new Response)->withFile('some "file".bin')); break;
        case '/gone': $c->send((new Response)->withFile('nothing')); break;
        case '/long': $c->send((new Response)->withFile('long.txt')); break;
        case '/sse': $c->send(new Response(200, ['Content-Type' => 'text/event-stream'], "\r\n")); $c->send(new ServerSentEvents(['data' => "a\nb", 'id' => 7, 'event' => 'e'])); break;
        case '/head': $c->headers = ['X-A' => 'of the connection']; $c->send(new Response(200, ['X-A' => 'own', "bad:\r\nname" => 'x'], '')); break;
        case '/max': $c->maxPackageSize = 200; $c->send(''); break;
    }
};
Worker::runAll();`

// TestWebRequests: what is a request, and what is none, is what Workerman takes.
func TestWebRequests(t *testing.T) {
	h := serve(t, program(t, web), "start")
	const chunked = "POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	for i, x := range []struct{ name, said, want string }{ // "|" is where a read ends
		{"whole", "PUT /body HTTP/1.1\r\nHost: x:80\r\nContent-Length: 2\r\n\r\nab", `["PUT","ab",null,null]`},
		{"1.0", "GET /body HTTP/1.0\r\n\r\n", `["GET","",null,null]`},
		{"chunks", chunked + "5\r\nhello\r\n|6;a=b\r\n| world|\r\n0\r\n|\r\n", `["POST","hello world",null,null]`},
		{"trailers", chunked + "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", `["POST","a",null,"1"]`},
		{"two", chunked + "0\r\n\r\nGET /body HTTP/1.1\r\nHost: x\r\n\r\n", `["POST","",null,null],["GET","",null,null]`},
		{"no size", chunked + "x\r\n", "400 Bad Request"},
		{"a long size", chunked + "123456789\r\n", "400 Bad Request"},
		{"no end", chunked + "1\r\nab\r\n", "400 Bad Request"},
		{"much", chunked + "ffffff\r\n", "413 Payload Too Large"},
		{"both", "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Bad Request"},
		{"lengths", "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "400 Bad Request"},
		{"less than none", "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"},
		{"no host", "GET /body HTTP/1.1\r\n\r\n", "400 Bad Request"},
		{"hosts", "GET /body HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 Bad Request"},
		{"a proxy's", "GET http://x/body HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"},
		{"no name", "GET /body HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "400 Bad Request"},
		{"too long", "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\n", "413 Payload Too Large"},
		{"long head", "GET /" + strings.Repeat("x", 16384), "431 Request Header Fields Too Large"},
	} {
		id := uint64(i + 1)
		h.openAt(script.Open, id, "", "tcp://0.0.0.0:2346", "", "")
		for read := range strings.SplitSeq(x.said, "|") {
			h.message(id, read)
		}
		var got []string
		for _, o := range h.done() {
			if answer, ok := strings.CutPrefix(o, fmt.Sprintf("SEND %d HTTP/1.1 ", id)); ok {
				status, _, _ := strings.Cut(answer, "\r\n")
				if _, body, _ := strings.Cut(answer, "\r\n\r\n"); body != "" {
					status = body
				}
				got = append(got, status)
			}
		}
		if strings.Join(got, ",") != x.want {
			t.Errorf("%s: got %q, want %s\n%s", x.name, got, x.want, h.log)
		}
	}
}

// TestWebAnswers: files and parts of them, streams of events, headers.
func TestWebAnswers(t *testing.T) {
	file := program(t, web)
	dir := filepath.Dir(file)
	for name, text := range map[string]string{"page.txt": strings.Repeat("0123456789", 3), `some "file".bin`: "\x01", "long.txt": strings.Repeat("long", 1<<20)} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	h := serve(t, file, "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	get := func(path string) []string {
		h.message(1, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		return h.done()
	}
	for _, x := range []struct {
		path string
		want []string
	}{
		{"/part", []string{"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nAccept-Ranges: bytes\r\nContent-Range: bytes 10-14/30\r\n", "Content-Type: text/plain\r\nLast-Modified: ", "\r\n\r\n01234"}},
		{"/file", []string{"Content-Disposition: attachment; filename=\"some file.bin\"\r\n", "\r\n\r\n\x01"}},
		{"/gone", []string{"HTTP/1.1 404 Not Found\r\n", "<h3>404 Not Found</h3>"}},
		{"/sse", []string{"Content-Type: text/event-stream\r\nConnection: keep-alive,", "event: e\nid: 7\ndata: a\ndata: b"}},
		{"/head", []string{"X-A: own\r\nX-A: of the connection\r\nConnection: keep-alive\r\n"}},
	} {
		got := strings.Join(get(x.path), ",")
		for _, want := range x.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want %q\n%s", x.path, got, want, h.log)
			}
		}
	}

	h.stuck = true
	got := muchSent(t, get("/long"), "HELD+1 1")
	head := strings.Index(got, "longlong")
	for len(got) < head+4<<20 { // it is read while the client takes it
		h.queued = 0
		h.event(script.Frame{Op: script.Full, Conn: 1})
		h.event(script.Frame{Op: script.Drain, Conn: 1})
		var rest []string
		orders := h.done()
		if orders[len(orders)-1] == "HELD 1" {
			rest = []string{"HELD 1"}
		}
		more := muchSent(t, orders, rest...)
		if got += more; more == "" {
			t.Fatalf("%d bytes are sent, and nothing follows\n%s", len(got), h.log)
		}
	}
	if head < 0 || !strings.Contains(got[:head], "Content-Length: 4194304\r\n") || got[head:] != strings.Repeat("long", 1<<20) {
		t.Errorf("%d bytes behind %q", len(got)-head, got[:head])
	}
}
