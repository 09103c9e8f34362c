package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestPlain: what callbacks have changed of the numbers and texts beside the connections goes
// on where the new code begins as the old one did, and what does not is named in a log.
func TestPlain(t *testing.T) {
	for _, x := range []struct {
		name, code, put, get, want string
		change                     [2]string // of the new code
		says, saysNew              string
	}{
		{name: "global", code: `$uid = 0; $who = 'nobody'; $all = []; $n = 0; $later = function () use (&$n) { return ++$n; };`,
			put: `global $uid, $who, $all, $later; ++$uid; $who = "\xff"; $all['a'][] = 1.5; $later()`,
			get: `global $uid, $who, $all, $n, $later; return [$uid, bin2hex($who), $all, $n, $later()]`, want: `[1,"ff",{"a":[1.5]},1,2]`,
			says: "carried over: $uid, $who, $all, $n\n"},
		{name: "of the Worker, and not pushd's own", code: ``, put: `$c->worker->served = 7; $c->worker->stopping = true`,
			get: `return [$c->worker->served ?? null, $c->worker->stopping]`, want: `[7,false]`, says: "carried over: $served\n"},
		{name: "static beside a map", code: `class Reg { static $map = []; static $n = 0; private static ?string $last = null; static $left = 5; static function put($c) { self::$map['x'] = $c; self::$n++; self::$last = 'x'; self::$left = null; } static function last() { return self::$last; } }`,
			put: `Reg::put($c)`, get: `return [Reg::$n, Reg::last(), Reg::$left, Reg::$map['x'] === $c]`, want: `[1,"x",null,true]`},
		{name: "static of a class without connections", code: `class Conf { static $all = []; }`, put: `Conf::$all['port'] = 1`, get: `return Conf::$all`, want: `[]`},
		{name: "the new code begins otherwise", code: `$limit = 5; $topic = 'tea';`, put: `global $limit, $topic; $limit = 6; $topic = 'milk'`, change: [2]string{`$limit = 5`, `$limit = 9`},
			get: `global $limit, $topic; return [$limit, $topic]`, want: `[9,"milk"]`, saysNew: "not taken over: $limit, with which the new code begins otherwise"},
		{name: "a setting that nobody has changed", code: `$limit = 5;`, put: ``, change: [2]string{`$limit = 5`, `$limit = 9`}, get: `global $limit; return $limit`, want: `9`},
		{name: "the new code begins with an object", code: `$n = null;`, put: `global $n; $n = 5`, change: [2]string{`= null`, `= new ArrayObject`}, get: `global $n; return is_object($n)`, want: `true`, saysNew: "not taken over: $n"},
		{name: "the type is another", code: `class Reg { static $map = []; static ?int $n = null; }`, put: `Reg::$map[] = $c; Reg::$n = 1`, change: [2]string{`?int`, `?array`},
			get: `return Reg::$n`, want: `null`, saysNew: "not taken over: $n"},
		{name: "true", code: `$on = false;`, put: `global $on; $on = true`, get: `global $on; return $on`, want: `true`},
		{name: "true, and a timer", code: `$on = false; $round = 0;`, put: `global $on, $round; $round++; $on = true; Workerman\Timer::add(1000, function () {})`,
			get: `global $on, $round; return [$on, $round]`, want: `[false,1]`, says: "carried over: $round; not, as it ends with this process, may stand for what does, or is too large: $on\n"},
		{name: "timer", code: `$timer = null; $timers = []; $round = 0;`, put: `global $timer, $timers, $round; $round++; $timer = Workerman\Timer::add(1000, function () {}); $timers['a'] = $timer`,
			get: `global $timer, $timers, $round; return [$timer, $timers, $round]`, want: `[null,[],1]`, says: "carried over: $round; not, as it ends with this process, may stand for what does, or is too large: $timer, $timers\n"},
		{name: "true, and an object", code: `$ready = false; $db = null; $n = 0;`, put: `global $ready, $db, $n; $n++; $db = new ArrayObject; $ready = true`,
			get: `global $ready, $db, $n; return [$ready, $db, $n]`, want: `[false,null,1]`, says: "carried over: $n; not, as it ends with this process, may stand for what does, or is too large: $db, $ready\n"},
		{name: "large", code: `$many = $long = null;`, put: `global $many, $long; $many = range(0, 20000); $long = str_repeat('x', 1 << 21)`,
			get: `global $many, $long; return [$many, $long]`, want: `[null,null]`, says: "or is too large: $many, $long\n"},
		{name: "much", code: `$a = $b = $c = $d = $e = $f = $g = $h = $i = '';`, put: `for ($x = 'a'; $x < 'j'; $x++) $GLOBALS[$x] = str_repeat($x, (1 << 20) - 100)`,
			get: `return strlen($GLOBALS['a'] . $GLOBALS['h'] . $GLOBALS['i'])`, want: `2096952`, says: "is too large: $i\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := x.code + `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) { $c->send($data === 'put' ? put($c) : json_encode(get($c))); };
function put($c) { ` + x.put + `; return 'done'; }
function get($c) { ` + x.get + `; }
Workerman\Worker::runAll();`
			after := code
			if x.change[0] != "" {
				after = strings.Replace(code, x.change[0], x.change[1], 1)
			}
			old, h, orders := movedFrom(t, code, after)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d %s", uint64(big), x.want)) {
				t.Errorf("%q\n%s\n%s", orders, old.log, h.log)
			}
			if !strings.Contains(old.log.String(), x.says) || !strings.Contains(h.log.String(), x.saysNew) {
				t.Errorf("the log is\n%s\n%s", old.log, h.log)
			}
		})
	}
}
