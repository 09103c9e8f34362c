package php_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const echo = `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($connection, $data) { $connection->send($data); };
Worker::runAll();
`

func TestEcho(t *testing.T) {
	h := serve(t, program(t, echo), "start")
	for _, want := range h.welcome.Wants {
		if want == script.WantOpen {
			t.Error("a program without onConnect asks to be told of each connection")
		}
	}
	h.open(script.Open, 7, "")
	h.message(7, "hello")
	h.message(7, "again")
	h.want("SEND 7 hello", "SEND 7 again")
}

// TestForeach sends one string to many: it is one frame.
func TestForeach(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) use ($w) { $c->send('welcome'); };
$w->onMessage = function ($from, $data) use ($w) {
    foreach ($w->connections as $c) if ($c !== $from) $c->send($data);
};
$w->onClose = function ($c) use ($w) { foreach ($w->connections as $o) $o->send('left'); };
Worker::runAll();
`), "start")
	for id := uint64(1); id <= 4; id++ {
		h.open(script.Open, id, "")
	}
	h.wantEach("welcome", "1", "2", "3", "4")
	h.message(2, "hi")
	h.want("MANY 0 1 3 4 hi")
	h.closed(4)
	h.want("MANY 0 1 2 3 left")
}

// wantEach ends a batch and compares who gets the text. PHP may read the batch
// in pieces, and orders the same for several at once only for what it has read.
func (h *host) wantEach(text string, conns ...string) {
	h.t.Helper()
	var got []string
	orders := h.done()
	for _, o := range orders {
		o = strings.TrimPrefix(strings.TrimPrefix(o, "MANY 0 "), "SEND ")
		got = append(got, strings.Fields(strings.TrimSuffix(o, " "+text))...)
	}
	if !slices.Equal(got, conns) {
		h.t.Fatalf("%q got %q, want %q: orders %q\n%s", text, got, conns, orders, h.log)
	}
}
