package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestCircleWithAClosure: users know the lobby, and it knows them and has a closure, a file or
// a generator: that is each process's own, all else goes, in a time that does not grow with
// the number of ways through the circle.
func TestCircleWithAClosure(t *testing.T) {
	const classes = `
class User { public $c, $lobby, $n; function __construct($c, $lobby, $n) { $this->c = $c; $this->lobby = $lobby; $this->n = $n; } }
class Log { public $to; function __construct() { $this->to = fopen('php://memory', 'w'); } function say($x) { fwrite($this->to, $x); } }
class Lobby { public $in = [], $last; private $log; public $tag = 1; function __construct($log) { $this->log = $log; } function put($u) { $this->in[] = $u; $this->last = $u; } function log() { return $this->log; } }
final class App { static $lobby; }
`
	for name, x := range map[string][3]string{
		"closure":             {`$lobby = new Lobby(function () {});`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"closures":            {`$lobby = new Lobby(['a' => [function () {}]]);`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"handlers":            {`$lobby = new Lobby(null); $lobby->__construct([[$lobby, 'put'], function () {}]);`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"file":                {`$lobby = new Lobby(fopen('php://memory', 'w'));`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"log":                 {`$lobby = new Lobby(new Log);`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"log in a global":     {`$log = new Log; $lobby = new Lobby($log);`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"generator":           {`$lobby = new Lobby((function () { yield 1; })());`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"without a name":      {`$lobby = new Lobby(new class { public $n = 1; });`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
		"static":              {`App::$lobby = new Lobby(function () {});`, `App::$lobby`, `App::$lobby->in`},
		"in an array":         {`$all = ['lobby' => new Lobby(function () {})];`, `$GLOBALS['all']['lobby']`, `$GLOBALS['all']['lobby']->in`},
		"in a changed array":  {`$all = ['lobby' => new Lobby(function () {})];`, `$GLOBALS['all']['lobby']`, `[$GLOBALS['all']['more'] = new User($c, $GLOBALS['all']['lobby'], 9)] + $GLOBALS['all']['lobby']->in`},
		"of a connection":     {`$lobby = new Lobby(function () {});`, `$GLOBALS['lobby']`, `($c->users = $c->users ?: $GLOBALS['lobby']->in)`},
		"in a storage":        {`$lobby = new Lobby(function () {}); $u = new SplObjectStorage;`, `$GLOBALS['lobby']`, `all($GLOBALS['u'], $GLOBALS['lobby']->in)`},
		"opened in its start": {`$lobby = new Lobby(null); $w->onWorkerStart = function () { $GLOBALS['lobby']->__construct(fopen('php://memory', 'w')); };`, `$GLOBALS['lobby']`, `$GLOBALS['lobby']->in`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := classes + `
function all($storage, $users) { foreach ($users as $u) { $storage[$u] = 1; } return iterator_to_array((function () use ($storage) { foreach ($storage as $u) yield $u; })()); }
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
` + x[0] + `
$w->onMessage = function ($c, $data) {
    $lobby = ` + x[1] + `;
    if ($data === 'put') { for ($i = 0; $i < 12; $i++) $lobby->put(new User($c, $lobby, $i)); }
    $users = ` + x[2] + `;
    $same = array_filter($users, function ($u) use ($lobby, $c) { return $u->lobby === $lobby && $u->c === $c; });
    $c->send($data === 'put' ? 'done' : json_encode([count($same), count($lobby->in), $lobby->last === $lobby->in[11], $lobby->log() !== null]));
};
Workerman\Worker::runAll();`
			h, orders := moved(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d [12,12,true,true]", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestOwnIsGone: whom an object of the start knows that the new code does not make, and that
// cannot be without what was each process's own, is closed.
func TestOwnIsGone(t *testing.T) {
	const code = `
class Room { public $in = []; private $log; function __construct() { $this->log = function () {}; } }
$rooms = [new Room, new Room];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) {
    if ($data === 'put') { $GLOBALS['rooms'][] = 1; $GLOBALS['rooms'][1]->in[$c->id] = $c; }
    $c->send('done');
};
Workerman\Worker::runAll();`
	h, orders := moved(t, code, strings.Replace(code, ", new Room", "", 1))
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("$log is of each process, and the new code's start makes no such object there")
}

// TestWhoKnowsIsGone: an object that only knows the hub can go, with those in the hub staying.
func TestWhoKnowsIsGone(t *testing.T) {
	const code = `
class Cron { public $hub; function __construct($hub) { $this->hub = $hub; } }
class Hub { public $users = [], $cron; function put($c) { $this->users[$c->id] = $c; } }
class Holder { static $all = []; }
$hub = new Hub;
/*A*/
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
/*B*/
$w->onMessage = function ($c, $data) use ($hub) {
    if ($data === 'put') { $hub->put($c); $c->send('done'); return; }
    $c->send('in ' . count($hub->users));
};
Workerman\Worker::runAll();`
	for name, x := range map[string][4]string{
		"a global":        {"/*A*/", "$cron = new Cron($hub);", "", "$cron was not taken over, and who is in what it knows stays"},
		"one of two":      {"/*A*/", "$a = new Cron($hub); $b = new Cron($hub);", "$a = new Cron($hub);", "stays"},
		"one of an array": {"/*A*/", "$jobs = [new Cron($hub), new Cron($hub)];", "$jobs = [new Cron($hub)];", "stays"},
		"of the Worker":   {"/*B*/", "$w->cron = new Cron($hub);", "", "stays"},
		"a static":        {"/*A*/", "Holder::$all = new Cron($hub);", "", ""},
		"a class":         {"/*A*/", "$cron = new Cron($hub);", "class Other {} $cron = new Other;", "stays"},
		"a property":      {"/*A*/", "$hub->cron = new Cron($hub);", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, strings.Replace(code, x[0], x[1], 1), strings.Replace(code, x[0], x[2], 1))
			if !slices.Contains(orders, fmt.Sprintf("SEND %d in 1", uint64(big))) || slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
			if !strings.Contains(h.log.String(), x[3]) {
				t.Errorf("the log is %s", h.log)
			}
		})
	}
	t.Run("its class", func(t *testing.T) {
		t.Parallel()
		_, h, orders := movedFrom(t, strings.Replace(code, "/*A*/", "$cron = new Cron($hub);", 1), strings.NewReplacer("/*A*/", "$cron = new Job($hub);", "class Cron", "class Job").Replace(code))
		if !slices.Contains(orders, fmt.Sprintf("SEND %d in 1", uint64(big))) || slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
			t.Errorf("%q\n%s", orders, h.log)
		}
	})
}

// TestMapsOfObjects: a WeakMap of the program's own objects is what it was, be it in a global,
// in a static, or in an object of the start that those know.
func TestMapsOfObjects(t *testing.T) {
	for name, x := range map[string][2]string{
		"a global":  {`$score = new WeakMap;`, `$GLOBALS['score']`},
		"a static":  {`App::$score = new WeakMap;`, `App::$score`},
		"a room's":  {`$room = new Room;`, `$GLOBALS['room']->score`},
		"wiring's":  {`$all = ['room' => new Room]; $room = $all['room'];`, `$GLOBALS['all']['room']->score`},
		"typed":     {`$room = new Typed;`, `$GLOBALS['room']->score`},
		"a timer's": {`$room = new Typed; $w->onWorkerStart = function () { $room = $GLOBALS['room']; Workerman\Timer::add(60, function () use ($room) {}); };`, `$GLOBALS['room']->score`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := `
class App { static $score; }
class Room { public $score; function __construct() { $this->score = new WeakMap; } }
class Typed { public WeakMap $score; private $log; function __construct() { $this->score = new WeakMap; $this->log = function () {}; } }
class User { public $c, $room; function __construct($c) { $this->c = $c; $this->room = $GLOBALS['room'] ?? null; } }
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
` + x[0] + `
$users = [];
$w->onMessage = function ($c, $data) {
    $score = ` + x[1] + `;
    if ($data === 'put') {
        $score[$c] = 1;
        foreach ([1, 2] as $n) { $u = $GLOBALS['users'][] = new User($c); $score[$u] = ['n' => $n, 'by' => $GLOBALS['users'][0], 'c' => $c]; }
        $c->send('done');
        return;
    }
    $u = $GLOBALS['users'][1];
    $c->send('score ' . json_encode([count($score), $score[$u]['n'] ?? 0, ($score[$u]['by'] ?? 0) === $GLOBALS['users'][0], $u->room === ($GLOBALS['room'] ?? null)]));
};
Workerman\Worker::runAll();`
			_, h, orders := movedFrom(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d score [3,2,true,true]", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestOneOfManyHasAClosure: it is closed, and all others stay in the maps of an object that
// the start makes, with an entry of the start's own.
func TestOneOfManyHasAClosure(t *testing.T) {
	const code = `
class User { public $n, $c, $then; function __construct($n, $c = null) { $this->n = $n; $this->c = $c; } }
class Chat {
    public array $users = []; public array $online = []; private $handlers;
    function __construct() { $this->users['bot'] = new User('bot'); $this->handlers = ['put' => [$this, 'put'], 'get' => function () {}]; }
    function put($c, $how) { $n = "u$c->id"; $this->users[$n] = new User($n, $c); $this->online[$n] = $c; if ($how === 'hold') $this->users[$n]->then = function () {}; }
}
$chat = new Chat;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use ($chat) {
    if ($data !== 'get') { $chat->put($c, $data); $c->send('done'); return; }
    $c->send('in ' . json_encode([count($chat->users), count($chat->online)]));
};
Workerman\Worker::runAll();`
	h, next, closed, told := movedMany(t, code, "put", "also put", "hold")
	if !slices.Equal(closed, []string{"hold"}) || len(told) != 1 || !strings.HasSuffix(told[0], " in [3,3]") {
		t.Errorf("%q %q\n%s%s", closed, told, h.log, next.log)
	}
}
