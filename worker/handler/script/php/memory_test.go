package php_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestMemory: what a connection costs PHP that it was told of, in bytes. With -v
// it says how many.
func TestMemory(t *testing.T) {
	const n = 2000
	for _, x := range []struct {
		name, onConnect string
		most            int
	}{
		{"no properties", ``, 200},
		{"three properties", `$c->uid = $c->id; $c->name = "user $c->id"; $c->lastMessageTime = 1700000000 + $c->id;`, 600},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) { `+x.onConnect+` };
$w->onMessage = function ($c, $data) { gc_collect_cycles(); $c->send(memory_get_usage()); };
Workerman\Worker::runAll();
`), "start")
			h.open(script.Open, 1, "")
			used := func() int {
				h.message(1, "x")
				for _, o := range h.done() {
					if text, ok := strings.CutPrefix(o, "SEND 1 "); ok {
						bytes, err := strconv.Atoi(text)
						must(t, err)
						return bytes
					}
				}
				t.Fatal("no answer")
				return 0
			}
			used()
			before := used()
			for i := range uint64(n) {
				h.open(script.Open, 2+i, "")
				if i%100 == 99 {
					h.done()
				}
			}
			used()
			each := (used() - before) / n
			t.Logf("%d bytes for each connection", each)
			if each > x.most {
				t.Errorf("%d bytes for each connection, at most %d", each, x.most)
			}
		})
	}
}
