package php_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// coroutines is a program whose callbacks may be suspended: by hand, as
// Workerman\Coroutine does it, and by Timer::sleep.
const coroutines = `
use Workerman\Worker;
use Workerman\Timer;
$w = new Worker('websocket://0.0.0.0:2346');
$w->eventLoop = Workerman\Events\Fiber::class;
$w->onMessage = function ($c, $data) use (&$waits) {
    switch ($data) {
        case 'loop': $c->send(Worker::$eventLoopClass); return;
        case 'suspend': $waits = Fiber::getCurrent(); $c->send('went on with ' . Fiber::suspend()); return;
        case 'throw': $waits = Fiber::getCurrent(); Fiber::suspend(); throw new Error('behind the wait');
        case 'nap': Timer::sleep(0.01); $c->send('slept'); return;
        case 'long': Timer::sleep(60); return;
    }
    if ($waits) { $fiber = $waits; $waits = null; $fiber->resume($data); }
    $c->send("got $data");
};
Worker::runAll();`

// TestCoroutines: with Workerman's loop of fibers a callback may be suspended, and
// others run meanwhile. What it throws afterwards costs its own connection.
func TestCoroutines(t *testing.T) {
	h := serve(t, program(t, coroutines), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "loop")
	h.want(`SEND 1 Workerman\Events\Fiber`)
	h.message(1, "suspend")
	h.want("HELD+1 1") // if this process dies, the client must not wait for ever
	h.message(2, "x")
	h.want("SEND 1 went on with x", "HELD 1", "SEND 2 got x")
	h.message(1, "throw")
	h.want("HELD+1 1")
	h.message(2, "y")
	h.want("HELD 1", "END/1011 1 internal error", "SEND 2 got y")
	if !strings.Contains(h.log.String(), "behind the wait") {
		t.Errorf("the log has no word of it:\n%s", h.log)
	}
}

// TestCoroutinesAtAReload: those that end soon do so in the old process, a connection
// of a longer one is held.
func TestCoroutinesAtAReload(t *testing.T) {
	h := serve(t, program(t, coroutines), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "nap")
	h.message(2, "long")
	orders, _ := h.stop(script.Successor)
	if !slices.Contains(orders, "SEND 1 slept") {
		t.Errorf("%q: the nap has not come to its end", orders)
	}
	if !slices.Contains(orders, "HELD+1 2") || slices.Contains(orders, "HELD+1 1") {
		t.Errorf("%q: want the connection of the long one to be held, and no other", orders)
	}
}

// TestHeldAgain: a connection whose object the program has let go of, elsewhere than in
// a callback of its own, and holds again, is held until the end.
func TestHeldAgain(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    if ($data === 'hold') { Workerman\Timer::add(60, function () use ($c) { $c->send('x'); }); }
    if ($data === 'drop') { Workerman\Timer::delAll(); }
};
Worker::runAll();`), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "hold")
	h.want("HELD+1 1")
	h.message(2, "drop")
	h.done()
	h.message(1, "hold")
	h.done()
	if orders, _ := h.stop(script.Successor); slices.Contains(orders, "HELD 1") {
		t.Errorf("%q: a timer has it", orders)
	}
}

// TestCoroutinesCutPackets: while a callback is suspended the rest of what its client
// has said is cut by the next event, and by nobody twice.
func TestCoroutinesCutPackets(t *testing.T) {
	h := serve(t, program(t, `
namespace Protocols {
    class Line {
        static function input($buffer) { return ($n = strpos($buffer, "\n")) === false ? 0 : $n + 1; }
        static function decode($buffer) { return trim($buffer); }
        static function encode($data) { return "$data;"; }
    }
}
namespace {
    use Workerman\Worker;
    use Workerman\Timer;
    $w = new Worker('line://0.0.0.0:2346');
    $w->eventLoop = Workerman\Events\Swoole::class;
    $w->onWorkerStart = function ($w) { $w->n = 0; Timer::sleep(0.001); $w->n = 100; };
    $w->onMessage = function ($c, $data) use ($w, &$waits) {
        $n = ++$w->n;
        if ($data === 'wait') { $waits = Fiber::getCurrent(); Fiber::suspend(); }
        if ($data === 'go') { $waits->resume(); }
        $c->send("$n $data");
    };
    Worker::runAll();
}`), "start")
	h.says("as file_get_contents() does, hold up the process")
	h.open(script.Open, 1, "")
	h.message(1, "a\nwait\nb\nc\ngo\nd\n")
	first := h.done()
	h.message(1, "e\n")
	all := strings.Join(append(first, h.done()...), " ")
	for _, want := range []string{"a;", "wait;", "b;", "c;", "go;", "d;", "e;"} {
		if strings.Count(all, want) != 1 {
			t.Errorf("%q is answered %d times, want once: %s", want, strings.Count(all, want), all)
		}
	}
}
