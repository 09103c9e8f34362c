package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestPlain: what callbacks have changed of the numbers and texts beside the connections is
// that of the new code, and is named in the log.
func TestPlain(t *testing.T) {
	for _, x := range []struct{ name, code, put, get, want, says string }{
		{"global", `$uid = 0; $who = 'nobody'; $all = []; $same = 1; $n = 0; $later = function () use (&$n) { return ++$n; };`,
			`global $uid, $who, $all, $later; ++$uid; $who = "\xff"; $all['a'][] = 1.5; $later()`,
			`global $uid, $who, $all; return [$uid, $who, $all]`, `[0,"nobody",[]]`, "carried over: nothing; not $uid, $who, $all, $n, which callbacks have changed: the new code has its own\n"},
		{"of the Worker, and not pushd's own", `$w->served = 0;`, `$c->worker->served = 7; $c->worker->stopping = true`,
			`return $c->worker->served`, `0`, "carried over: nothing; not $served, which"},
		{"static beside a map", `class Reg { static $map = []; static $n = 0; private static ?string $last = null; static function put($c) { self::$map['x'] = $c; self::$n++; self::$last = 'x'; } }`,
			`Reg::put($c)`, `return [Reg::$n, Reg::$map['x'] === $c]`, `[0,true]`, "carried over: $map; not $n, $last, which"},
		{"static of a class that has none", `class Users { static $by = []; static $n = 0; }`, `Users::$by["fd:$c->id"] = 1`,
			`return Users::$by`, `[]`, "carried over: nothing; not Users::$by, which callbacks have changed: the new code has its own\n"},
		{"timers of callbacks", `use Workerman\Timer; $w->onWorkerStart = function () { Timer::add(0.001, function () { Timer::add(60, 'time'); echo "set again\n"; }, [], false); Timer::add(60, 'time'); };`,
			`for ($i = 0; $i < 3; $i++) $last = Workerman\Timer::add(60, 'time', [], $i === 0); Workerman\Timer::del($last)`,
			`return 0`, `0`, "carried over: nothing; 2 timers that callbacks have set end with this process\n"},
		{"with the connections in one array", `$chat = ['clients' => [], 'last' => 0];`, `global $chat; $chat['clients'][] = $c; $chat['last']++`,
			`global $chat; return $chat['last']`, `1`, "carried over: $chat\n"},
		{"objects", `class Plaza { private $who = []; public $log; function __construct() { $this->log = new Lines; } function add($n) { $this->who[$n] = 1; } } class Lines { public $all = []; public $n = 0; }
$plaza = new Plaza; $same = new Lines; $routes = ['/chat' => new Lines, '/same' => new Lines, 'list' => [new Lines]]; $room = new Plaza; $room->members = null; $all = new SplObjectStorage;
$names = new ArrayObject; $queue = new SplQueue; $big = range(1, 200); $grown = []; $late = null; $enough = range(1, 200); static $lines = 0;`,
			`global $plaza, $routes, $room, $all, $names, $queue, $big, $grown, $games; $plaza->add('ann'); $routes['/chat']->all[] = 'hi'; $routes['list'][0]->n++; $room->members = [$c]; $room->log->n++; $all[$c] = 1; $names['ann'] = 1; $queue[] = 'x'; $big[] = 1; foreach (range(1, 200) as $i) $grown[] = $i`,
			`return 0`, `0`, "carried over: $room, $all; not $big, $grown, $plaza, $routes[/chat], $routes[list][…], $names, $queue, which callbacks have changed: the new code has its own\n"},
		{"objects of callbacks", `class Game { public $n = 0; } $games = []; $none = new SplObjectStorage; $one = new Game; $w->tables = [];`,
			`global $games, $none, $one; $games['a'] = new Game; $none[new Game] = 1; $one = new Game; $c->worker->tables[] = new Game`,
			`return 0`, `0`, "carried over: nothing; not $tables, $games, $one, $none, which"},
		{"nothing of objects", `class Game { public $n = 0; public $f; } $games = ['a' => new Game]; $q = new SplQueue; $q[] = new Game; $o = (object)['f' => function () {}, 'r' => STDIN, 'x' => [1.5, null, true, "\xff"]];`,
			`global $games, $q, $o; $games['a']->n = 0; $x = $o->r`, `return 0`, `0`, ""},
		{"many", `foreach (range(10, 40) as $i) { $GLOBALS["a$i"] = 0; }`, `foreach (range(10, 40) as $i) { $GLOBALS["a$i"] = 1; }`, `return 0`, `0`, "$a29, …, which"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := `$w = new Workerman\Worker('websocket://0.0.0.0:9501');
` + x.code + `
$w->onMessage = function ($c, $data) { $c->send($data === 'put' ? put($c) : json_encode(get($c))); };
function put($c) { ` + x.put + `; return 'done'; }
function get($c) { ` + x.get + `; }
Workerman\Worker::runAll();`
			old, h, orders := movedFrom(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d %s", uint64(big), x.want)) {
				t.Errorf("%q\n%s\n%s", orders, old.log, h.log)
			}
			if log := old.log.String(); !strings.Contains(log, x.says) || x.says == "" && strings.Contains(log, "not $") {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

// TestStopNamesNothing: where no process follows nothing begins anew.
func TestStopNamesNothing(t *testing.T) {
	for flags, want := range map[byte]bool{0: false, script.Successor: true} {
		h := serve(t, program(t, `
$n = 0;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) { global $n; $n++; };
Workerman\Worker::runAll();`), "start")
		h.open(script.Open, 1, "")
		h.message(1, "x")
		h.done()
		h.stop(flags)
		if got := strings.Contains(h.log.String(), "not $n, which"); got != want {
			t.Errorf("stop with flags %d: %v\n%s", flags, got, h.log)
		}
	}
}
