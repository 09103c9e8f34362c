package php_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/script"
)

// TestHTTPClient: Swoole's client of HTTP lets others run while it waits, and says
// what became of a request.
func TestHTTPClient(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			close(asked)
			<-answer
			fmt.Fprint(w, "at last")
		case "/chunks":
			for range 3 {
				fmt.Fprint(w, strings.Repeat("x", 70000))
				w.(http.Flusher).Flush()
			}
		case "/cut":
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "half")
		case "/head":
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "ab"})
			w.WriteHeader(201)
		case "/empty":
			w.WriteHeader(204)
		default:
			body, _ := io.ReadAll(r.Body)
			c, _ := r.Cookie("seen")
			fmt.Fprintf(w, "%s %s %s %s %v", r.Method, r.URL, r.Header.Get("X-Token"), body, c)
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes clients, and says nothing
	must(t, err)
	defer silent.Close()
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer garbage.Close()
	go func() {
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "SSH-2.0-x\r\n\r\n")
			c.Close()
		}
	}()
	port := func(a net.Addr) int { return a.(*net.TCPAddr).Port }
	file := program(t, fmt.Sprintf(`
use Swoole\Coroutine\Http\Client;
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->on('message', function ($s, $f) {
    [$what, $path] = explode(' ', $f->data, 2);
    $ports = ['plain' => %d, 'secure' => %d, 'silent' => %d, 'nobody' => %d, 'garbage' => %d];
    $c = new Client('127.0.0.1', $ports[$what] ?? $ports['plain'], $what === 'secure');
    $c->set(['ssl_cafile' => __DIR__ . '/ca.pem', 'timeout' => $what === 'silent' ? 0.05 : 60]);
    $c->setHeaders(['X-Token' => "t\r\nX-Bad: 1", 'content-length' => 3]);
    if ($what === 'post') {
        $c->get('/head');
        $c->post($path, ['a' => 'b c']);
    } else {
        $c->get($path);
    }
    $s->push($f->fd, "$c->statusCode " . (strlen($c->body) > 200 ? strlen($c->body) : $c->body) . " $c->errMsg");
});
$s->start();`, port(plain.Listener.Addr()), port(secure.Listener.Addr()), port(silent.Addr()), pushdtest.FreePort(t), port(garbage.Addr())))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	h := serve(t, file, "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	sent := func() string {
		for {
			if o := h.next(); strings.HasPrefix(o, "SEND") {
				return o
			}
		}
	}
	h.message(1, "plain /slow")
	h.flush()
	<-asked
	h.message(2, "plain /x?y=1")
	if got, want := sent(), "SEND 2 200 GET /x?y=1 tX-Bad: 1"; strings.TrimSpace(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	close(answer)
	if got := sent(); !strings.HasPrefix(got, "SEND 1 200 at last") {
		t.Errorf("got %q", got)
	}
	for _, x := range []struct{ ask, want string }{
		{"secure /s", "200 GET /s tX-Bad: 1"},
		{"post /form", "200 POST /form tX-Bad: 1 a=b+c seen=ab"},
		{"plain /chunks", "200 210000"},
		{"plain /cut", "-3 half the connection ended"},
		{"plain /empty", "204"},
		{"silent /", "-2  Connection timed out"},
		{"nobody /", "-1  Connection refused"},
		{"garbage /", "-3  what came is no HTTP"},
	} {
		h.message(1, x.ask)
		if got := strings.TrimPrefix(sent(), "SEND 1 "); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %q, want %q", x.ask, got, x.want)
		}
	}
	if orders := h.done(); slices.ContainsFunc(orders, func(o string) bool { return strings.HasPrefix(o, "END") }) {
		t.Errorf("%q", orders)
	}
}
