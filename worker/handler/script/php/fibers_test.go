package php_test

import (
	"slices"
	"strings"
	"syscall"
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
	h.want("END/1011 1 internal error", "SEND 2 got y")
	h.says("behind the wait")
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
	if held := holds(orders); !slices.Equal(held, []string{"2"}) {
		t.Errorf("%q: %q are held, want the connection of the long one", orders, held)
	}
}

// holds gives the connections that are held in the end.
func holds(orders []string) (held []string) {
	for _, o := range orders {
		if id, on := strings.CutPrefix(o, "HELD+1 "); on {
			held = append(held, id)
		} else if id, off := strings.CutPrefix(o, "HELD "); off {
			held = slices.DeleteFunc(held, func(h string) bool { return h == id })
		}
	}
	return held
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

// swooled is a program of Swoole whose callbacks wait.
const swooled = `
use Swoole\Coroutine;
use Swoole\Coroutine\Channel;
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->set(['enable_coroutine' => true, 'max_coroutine' => 4]);
$s->on('workerstart', function () use (&$orders) {
    $orders = new Channel(2);
    go(function () { while (true) { Co::sleep(0.01); } });
});
$s->on('message', function ($s, $f) use (&$orders) {
    $say = function ($text) use ($s, $f) { $s->push($f->fd, $text); };
    switch ($f->data) {
        case 'nap': Coroutine::sleep(0.01); $say('slept'); return;
        case 'long': go(function () use ($say) { Coroutine::sleep(60); $say('never'); }); return;
        case 'take': $say('took ' . $orders->pop() . ' ' . Coroutine::getPcid()); return;
        case 'throw': $orders->pop(); throw new Error('behind the wait');
        case 'own': Coroutine::getContext()->name = 'al'; $say('named'); return;
        case 'whose': $say(json_encode(Coroutine::getContext()->name ?? null)); return;
        case 'run': $say(Coroutine\System::exec('echo ran; exit 3')['code']); return;
        case 'many': $say(count(array_filter([go('Co::yield'), go('Co::yield'), go('Co::yield')]))); return;
    }
    $orders->push($f->data);
    $say("gave $f->data");
});
$s->on('request', function ($request, $response) { Co::sleep(0.01); $response->end('late'); });
$s->start();`

// TestSwooleCoroutines: a callback of Swoole waits, and others run meanwhile. Each has
// a context of its own, though fibers are used again.
func TestSwooleCoroutines(t *testing.T) {
	h := serve(t, program(t, swooled), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "take")
	h.want("HELD+1 1") // if this process dies, the client must not wait for ever
	h.message(2, "x")
	h.want("SEND 1 took x -1", "HELD 1", "SEND 2 gave x")
	h.message(1, "throw")
	h.want("HELD+1 1")
	h.message(2, "y")
	h.want("END/1011 1 internal error", "SEND 2 gave y")
	h.says("behind the wait")
	h.closed(1)
	h.open(script.Open, 1, "")
	h.message(1, "own")
	h.message(2, "whose")
	h.want("SEND 1 named", "SEND 2 null")
	h.message(1, "run")
	orders := h.done()
	for !slices.Contains(orders, "SEND 1 3") || len(holds(orders)) > 0 { // it has ended already, or does later
		orders = append(orders, h.next())
	}
	raw := "GET / HTTP/1.1\r\nHost: example\r\n\r\n"
	h.write(append(script.AppendRequest(nil, 7, "192.0.2.1:5", "websocket://0.0.0.0:9501", len(raw)), raw...))
	h.done()
	if got := h.next(); !strings.Contains(got, "late") {
		t.Errorf("got %q", got)
	}
}

// TestSwooleCoroutinesAtAReload: those that end soon do so in the old process, a
// connection of a longer one is held, and one that goes on for ever keeps nobody waiting.
func TestSwooleCoroutinesAtAReload(t *testing.T) {
	h := serve(t, program(t, swooled), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(2, "long")
	h.open(script.Open, 3, "")
	h.message(3, "long")
	h.closed(3)
	h.message(1, "nap")
	orders, _ := h.stop(script.Successor)
	if !slices.Contains(orders, "SEND 1 slept") {
		t.Errorf("%q: the nap has not come to its end", orders)
	}
	if held := holds(orders); !slices.Equal(held, []string{"2", "3"}) { // 3 is gone
		t.Errorf("%q: %q are held, want the connection of the long one", orders, held)
	}
	h.says("1 connections are in closures")
}

// TestCoroutinesForEver: one that goes on for ever keeps no reload waiting, once it
// has had its second.
func TestCoroutinesForEver(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->on('workerstart', function () use (&$turns) {
    go(function () use (&$turns) {
        $since = hrtime(true);
        for ($turns = 1; true; $turns++) {
            Co::sleep(0.01);
            if ($since && hrtime(true) - $since > 1.1e9) { $since = 0; Pushd\publish('x', 'old'); }
        }
    });
});
$s->on('message', function ($s, $f) use (&$turns) { $s->push($f->fd, "$turns turns"); });
$s->on('workerstop', function () use (&$turns) { Pushd\publish('x', "$turns turns"); });
$s->start();`), "start")
	if got := h.next(); got != "PUBLISH 0 x old" {
		t.Fatalf("got %q", got)
	}
	h.open(script.Open, 1, "")
	h.message(1, "turns") // in one batch with STOP: what it turns between them it does in the reload
	orders, _ := h.stop(script.Successor)
	before, after := "", ""
	for _, o := range orders {
		if n, is := strings.CutPrefix(o, "SEND 1 "); is {
			before = n
		}
		if n, is := strings.CutPrefix(o, "PUBLISH 0 x "); is {
			after = n
		}
	}
	if before == "" || before != after {
		t.Errorf("%q: it had %q before the reload and %q in it", orders, before, after)
	}
}

// TestSwooleCoroutinesHaveALimit: what is beyond it is refused, and said.
func TestSwooleCoroutinesHaveALimit(t *testing.T) {
	h := serve(t, program(t, swooled), "start")
	h.open(script.Open, 1, "")
	h.message(1, "many") // one of the four goes on for ever, and this callback is the second
	h.want("HELD+1 1", "SEND 1 2")
	h.says("4 coroutines wait")
	h.message(1, "x")
	h.want("SEND 1 gave x")
}

// TestCoroutinesOfSwoole is what they have besides, outside of a server.
func TestCoroutinesOfSwoole(t *testing.T) {
	_, out := plan(t, program(t, `
use Swoole\Coroutine;
use Swoole\Coroutine\Channel;
use function Swoole\Coroutine\run;
function say(...$values) { foreach ($values as $v) { echo json_encode($v), "\n"; } }
say(class_exists('Co'), class_exists('Swoole\Coroutine')); // as a library asks
go(function () { Co::sleep(0.001); say('first'); });
Swoole\Event::wait();
say((new chan(2))->capacity, run(function () {
    $c = new Channel(1);
    go(function () use ($c) {
        foreach ([1, 2] as $i) { Coroutine::sleep(0.001); $c->push($i); }
        say($c->isFull(), $c->push(3), $c->isFull(), $c->push(4, 0.001), $c->errCode === SWOOLE_CHANNEL_TIMEOUT);
    });
    say($c->pop(), $c->pop());
}));
run(function () {
    $closed = new Channel(2);
    $closed->push('left');
    $closed->close();
    say($closed->pop(), $closed->pop(), $closed->push(1), $closed->errCode === SWOOLE_CHANNEL_CLOSED);
    $group = new Coroutine\WaitGroup;
    foreach ([2, 1] as $n) { $group->add(); go(function () use ($group, $n, &$deferred) { co::sleep($n / 1000); defer(function () use ($group, $n, &$deferred) { $deferred[$n] = true; $group->done(); }); }); }
    say($group->wait(), $group->count(), count($deferred));
    $sum = 0;
    $barrier = Coroutine\Barrier::make();
    foreach ([1, 2] as $n) { go(function () use ($barrier, &$sum, $n) { Co::sleep(0.001); $sum += $n; }); }
    Coroutine\Barrier::wait($barrier);
    say($sum);
    say(Coroutine\batch(['a' => function () { Co::sleep(0.001); return 1; }, 'b' => function () { return 2; }]), Coroutine\map([1, 2], function ($x) { return $x * 2; }));
    $cid = go(function () { say(Co::yield()); });
    say(Co::exists($cid), Co::resume($cid), Co::exists($cid), Co::resume($cid));
    $cid = go(function () { say(Co::sleep(60), Co::isCanceled()); });
    say(Co::cancel($cid));
    $cid = go(function () { Co::sleep(0.001); });
    say(Co::join([$cid]), Co::exists($cid));
    go(function () { throw new Exception('thrown'); });
});
say(@run(function () { Co::yield(); }));
`))
	want := strings.Join([]string{
		"false", "false", `"first"`,
		"1", "2", "false", "true", "true", "false", "true", "2", "true",
		`"left"`, "false", "false", "true",
		"true", "0", "2", "3", `{"a":1,"b":2}`, "[2,4]",
		"true", "true", "true", "false", "false",
		"false", "true", "true",
		"true", "false",
	}, "\n")
	words, rest, _ := strings.Cut(out, "\npushd: uncaught Exception: thrown")
	if words != want || !strings.HasSuffix(strings.TrimSpace(rest), "\nfalse") {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// TestSwooleWithoutCoroutines: a program that does not want its callbacks to be
// coroutines may begin some, which are of the callback's connection all the same.
func TestSwooleWithoutCoroutines(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->set(['enable_coroutine' => false]);
$s->on('message', function ($s, $f) {
    $s->push($f->fd, (string)Co::getCid());
    go(function () use ($s, $f) { Co::yield(); });
});
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want("SEND 1 -1", "HELD+1 1")
}

// TestSwooleProcess: the function of addProcess() runs beside the callbacks, hears of them
// and speaks to clients, and one that ends is begun again. One
// that waits in PHP is ended, and costs nobody.
func TestSwooleProcess(t *testing.T) {
	code := func(f string) string {
		return `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
Swoole\Process::signal(SIGINT, function () {});
$p = new swoole_process(function (Swoole\Process $p) use ($s) { ` + f + ` }, false, 1, true);
$s->addProcess($p);
$s->on('open', function () {});
$s->on('message', function ($s, $f) use ($p) { $f->data === 'ping' ? $s->push($f->fd, 'pong') : $p->write($f->data); });
$s->start();`
	}
	h := serve(t, program(t, code(`
		while (true) {
			$data = $p->read();
			usleep(1000);
			foreach ($s->connections as $fd) $s->push($fd, "beside: $data");
			if ($data === 'end') return;
		}`)), "start")
	h.open(script.Open, 1, "")
	for _, word := range []string{"a", "end", "again"} {
		h.message(1, word)
		h.flush()
		for h.next() != "SEND 1 beside: "+word { // it may be in none of the batches
		}
	}

	h = serve(t, program(t, code(`echo "it spins\n"; for (;;) { $n = ($n ?? 0) + 1; }`)), "start")
	h.says("signals are pushd's")
	h.says("it spins")
	must(t, h.cmd.Process.Signal(syscall.SIGUSR2))
	h.open(script.Open, 1, "")
	h.message(1, "ping")
	h.want("SEND 1 pong")
	h.says("has held up all callbacks and is ended")
}

// TestHookedSleep: sleep() and usleep() let others run where the program has asked for
// it, and only there.
func TestHookedSleep(t *testing.T) {
	for settings, want := range map[string][]string{
		"'hook_flags' => SWOOLE_HOOK_ALL": {"SEND 1 soon", "SEND 1 late"},
		"'hook_flags' => 0":               {"SEND 1 late", "SEND 1 soon"},
	} {
		h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->set([`+settings+`]);
$s->on('message', function ($s, $f) {
    $done = false;
    go(function () use ($s, $f, &$done) { for ($i = 0; $i < 3 && !$done; $i++) usleep(1000); $s->push($f->fd, 'late'); });
    go(function () use ($s, $f, &$done) { $left = sleep(0); $done = true; $s->push($f->fd, $left === 0 ? 'soon' : '?'); });
});
$s->start();`), "start")
		h.open(script.Open, 1, "")
		h.message(1, "x")
		h.flush()
		var got []string
		for len(got) < 2 {
			if o := h.next(); strings.HasPrefix(o, "SEND ") {
				got = append(got, o)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", settings, got, want)
		}
	}
}
