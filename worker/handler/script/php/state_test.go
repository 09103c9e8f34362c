package php_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// room has the idioms by which programs keep state.
const room = `
use Workerman\Worker;
use Workerman\Lib\Timer;
class Rooms { public static $all = []; }
$users = [];
$w = new Worker('websocket://0.0.0.0:2346');
$w->name = 'room';
$w->uidConnections = [];
$w->onMessage = function ($c, $data) use ($w, &$users) {
    [$cmd, $arg] = explode(' ', $data . ' ', 2);
    $arg = trim($arg);
    switch ($cmd) {
        case 'set': $c->name = $arg; $c->n = 1.0; break;
        case 'push': $c->list[] = $arg; break;
        case 'bytes': $c->raw = "\xff\x00" . $arg; break;
        case 'get': $c->send(json_encode([$c->name ?? null, $c->list ?? null, bin2hex($c->raw ?? ''), isset($c->nothing), $c->n ?? null])); break;
        case 'login': $c->uid = $arg; $w->uidConnections[$arg] = $c; $users[$arg] = $c; Rooms::$all['x'][$arg] = $c; break;
        case 'logout': unset($w->uidConnections[$c->uid], $users[$c->uid], Rooms::$all['x'][$c->uid]); break;
        case 'to': [$u, $m] = explode(' ', $arg, 2); $w->uidConnections[$u]->send($m); $users[$u]->send($m); Rooms::$all['x'][$u]->send($m); break;
        case 'timer': $c->timer = Timer::add(1000, function () use ($c) { $c->send('tick'); }); break;
        case 'own': $c->onMessage = function ($c, $data) { $c->send("own $data"); }; break;
        case 'count': $c->send(count($w->uidConnections) . ' ' . count($users)); break;
        case 'throw': throw new RuntimeException('a mistake');
        case 'fatal': $a = str_repeat('x', 1 << 40); break;
        case 'exit': exit(3);
        case 'spin': echo "it spins\n"; while (true) { strlen($arg); } break;
        case 'flood': echo "it floods\n"; while (true) { Pushd\publish('all', str_repeat('x', 100000)); } break;
        case 'fork': if (pcntl_fork() === 0) exit(0); $c->send('forked'); break;
        case 'keep': $w->kept = $c; break;
        case 'kept': $c->send($w->kept->send('late') === false ? 'closed ' . $w->kept->name : 'open'); break;
    }
};
$w->onClose = function ($c) use ($w, &$users) { unset($w->uidConnections[$c->uid ?? ''], $users[$c->uid ?? '']); };
Worker::runAll();
`

func TestSession(t *testing.T) {
	file := program(t, room)
	h := serve(t, file, "room")
	h.open(script.Open, 1, "")
	h.message(1, "set Ann")
	h.message(1, "push a")
	session := `{"name":"Ann","n":1.0,"list":["a"]}`
	h.want("SESSION 1 " + session)
	h.message(1, "get")
	h.want(`SEND 1 ["Ann",["a"],"",false,1]`) // reading is no change, but json_encode drops the .0
	h.message(1, "push b")
	h.want(`SESSION 1 {"name":"Ann","n":1.0,"list":["a","b"]}`)

	h = serve(t, file, "room") // another process, to which it has moved
	h.open(script.Resume, 1, session)
	h.message(1, "get")
	h.want(`SEND 1 ["Ann",["a"],"",false,1]`)
	h.message(1, "bytes x")
	orders := h.done()
	if len(orders) != 1 || !strings.HasPrefix(orders[0], `SESSION 1 "`) {
		t.Fatalf("a property that is no text: %q", orders)
	}
	h = serve(t, file, "room")
	h.open(script.Resume, 1, strings.TrimPrefix(orders[0], "SESSION 1 "))
	h.message(1, "get")
	h.want(`SEND 1 ["Ann",["a"],"ff0078",false,1]`)
}

// TestHeld tells pushd who is in the program's hands.
func TestHeld(t *testing.T) {
	h := serve(t, program(t, room), "room")
	for id := uint64(1); id <= 2; id++ {
		h.open(script.Open, id, "")
		h.message(id, "count")
	}
	h.want("MANY 0 1 2 0 0")
	h.message(1, "login ann")
	h.want(`SESSION 1 {"uid":"ann"}`, "HELD+1 1")
	h.message(2, "to ann hi")
	h.want("MANY 0 1 1 1 hi")
	h.message(1, "logout")
	h.want("HELD 1")
	h.message(2, "own")
	h.want("HELD+1 2") // its callback is of this process
	h.message(2, "x")
	h.want("SEND 2 own x")
}

// TestCarry moves what refers to connections to the next process.
func TestCarry(t *testing.T) {
	file := program(t, room)
	h := serve(t, file, "room")
	for id := uint64(1); id <= 3; id++ {
		h.open(script.Open, id, "")
	}
	h.message(1, "login ann")
	h.message(2, "login bob")
	h.message(3, "login cid")
	h.message(3, "timer")
	h.done()
	orders, carried := h.stop(script.Successor)
	want := []string{"HELD 1", "HELD 2", "DONE 2"} // cid is in a timer's closure too
	if strings.Join(orders, ",") != strings.Join(want, ",") {
		t.Fatalf("orders at the end %q, want %q", orders, want)
	}
	conns, data, err := script.ParseCarry(carried)
	must(t, err)
	if conns.Len() != 3 {
		t.Fatalf("%d connections carried", conns.Len())
	}
	h.says("carried over: $uidConnections, $users, $all; 1 connections are in closures")

	h = serve(t, file, "room")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{1}, data)) // bob has left meanwhile, cid was closed
	h.open(script.Resume, 1, `{"uid":"ann"}`)
	h.want("HELD+1 1")
	h.message(1, "count")
	h.want("SEND 1 1 1") // onClose has run for both
	h.message(1, "to ann hi")
	h.want("MANY 0 1 1 1 hi")
}

func TestBuried(t *testing.T) {
	h := serve(t, program(t, room), "room")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "set Ann")
	h.message(1, "keep")
	h.done()
	h.closed(1)
	h.want()
	h.message(2, "kept")
	h.want("SEND 2 closed Ann")
}

// TestMistakes has callbacks fail in each way.
func TestMistakes(t *testing.T) {
	file := program(t, room)
	t.Run("exception", func(t *testing.T) {
		h := serve(t, file, "room")
		h.open(script.Open, 1, "")
		h.open(script.Open, 2, "")
		h.message(1, "throw")
		h.message(2, "count")
		h.want("END/1011 1 internal error", "SEND 2 0 0")
		h.says("uncaught RuntimeException: a mistake in " + file)
	})
	for _, how := range []string{"fatal", "exit"} {
		t.Run(how, func(t *testing.T) {
			h := serve(t, file, "room")
			h.open(script.Open, 1, "")
			h.open(script.Open, 2, "")
			h.message(2, "login bob")
			h.message(2, "count")
			h.message(1, how)
			h.message(2, "count")
			h.tick()
			got := h.lastWords()
			// What is said of the message at fault may stand before or behind
			// what is said of others, but before what is carried.
			at := slices.Index(got, "POISON 1 4")
			if at < 0 || at > slices.Index(got, "CARRY 0 [2]") {
				t.Fatalf("last words\n%s", strings.Join(got, ","))
			}
			want := `SEND 2 1 1,SESSION 2 {"uid":"bob"},HELD+1 2,CARRY 0 [2],HELD 2`
			if s := strings.Join(slices.Delete(got, at, at+1), ","); s != want {
				t.Errorf("last words\n%s\nwant\n%s", s, want)
			}
		})
	}
	t.Run("spin", func(t *testing.T) {
		h := serve(t, file, "room")
		h.open(script.Open, 1, "")
		h.open(script.Open, 2, "")
		h.message(1, "spin")
		h.says("it spins")
		must(t, h.cmd.Process.Signal(syscall.SIGUSR2))
		h.want("END/1011 1 internal error")
		h.says("took too long")
		h.message(2, "count")
		h.want("SEND 2 0 0")
	})
	t.Run("flood", func(t *testing.T) { // interrupted where it waits for pushd to take what it says
		h := serve(t, file, "room")
		h.open(script.Open, 1, "")
		h.open(script.Open, 2, "")
		h.message(1, "flood")
		h.says("it floods")
		h.waits()
		must(t, h.cmd.Process.Signal(syscall.SIGUSR2))
		orders := h.done()
		if last := orders[len(orders)-1]; last != "END/1011 1 internal error" {
			t.Errorf("the last order is %.40q\n%s", last, h.log)
		}
		h.message(2, "count")
		h.want("SEND 2 0 0")
	})
	t.Run("fork", func(t *testing.T) {
		h := serve(t, file, "room")
		h.open(script.Open, 1, "")
		h.message(1, "fork")
		h.want("SEND 1 forked")
		h.message(1, "count")
		h.want("SEND 1 0 0")
	})
}

// TestMapHint: a map of users in one of several processes is worth a word, once.
func TestMapHint(t *testing.T) {
	h := serve(t, program(t, strings.Replace(room, "$w->name = 'room';", "$w->name = 'room'; $w->count = 4;", 1)), "room")
	for id := uint64(1); id <= 3; id++ {
		h.open(script.Open, id, "")
		h.message(id, "login u")
		h.done()
	}
	h.says(`$worker->uidConnections has the users of this process only, and there are 4: Pushd\bind($connection, $uid)`)
	if n := strings.Count(h.log.String(), "of this process only"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	h = serve(t, program(t, strings.Replace(listing, "$w->connections = [];", "$w->count = 4;", 1)), "start")
	h.open(script.Open, 1, "")
	h.message(1, "in ann")
	h.done()
	h.says(`$worker->connections has the users of this process only`)
	h = serve(t, program(t, room), "room")
	h.open(script.Open, 1, "")
	h.message(1, "login u")
	h.done()
	if strings.Contains(h.log.String(), "of this process only") {
		t.Error("it is said where there is one process")
	}
}
