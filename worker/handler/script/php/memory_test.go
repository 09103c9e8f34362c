package php_test

import (
	"fmt"
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

// TestForget: what PHP has read of itself for its start is not kept while it serves.
func TestForget(t *testing.T) {
	h := serve(t, program(t, `
if (!extension_loaded('FFI')) { echo "no ffi\n"; }
function read_only() { // KiB of files that this process has pages of, which it cannot write
    $kib = 0;
    foreach (file('/proc/self/smaps') as $line) {
        if (preg_match('~^[0-9a-f]+-[0-9a-f]+ (\S+) .*?(/.*)?$~', $line, $m)) $of = isset($m[2]) && $m[1][1] === '-';
        elseif ($of && preg_match('~^Rss: +(\d+)~', $line, $m)) $kib += $m[1];
    }
    return $kib;
}
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$before = 0;
$w->onWorkerStart = function () use (&$before) { $before = read_only(); };
$w->onMessage = function ($c, $data) use (&$before) { $c->send("$before " . read_only()); };
Workerman\Worker::runAll();
`), "start")
	if strings.Contains(h.log.String(), "no ffi") {
		t.Skip("this PHP has no extension ffi, and keeps what it has read")
	}
	h.open(script.Open, 1, "")
	h.message(1, "x")
	var before, after int
	for _, o := range h.done() {
		_, _ = fmt.Sscanf(o, "SEND 1 %d %d", &before, &after)
	}
	t.Logf("%d KiB of files before it serves, %d then", before, after)
	if before == 0 || after > before*2/3 {
		t.Errorf("%d KiB of files before it serves, %d then: at most two thirds", before, after)
	}
}
