package php_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestWiring: an array that is as the start left it is the new code's, with whom the objects
// in it knew.
func TestWiring(t *testing.T) {
	const classes = `
class Room { public $in = []; function say($text) { foreach ($this->in as $c) $c->send($text . count($this->in)); } }
class Chat {
    public $in = [];
    function put($c) { $this->in[$c->id] = $c; $c->send('done'); }
    function get($c) { foreach ($this->in as $o) $o->send('chat ' . count($this->in)); }
    function loud($c) { foreach ($this->in as $o) $o->send('CHAT ' . count($this->in)); }
}
class Stats { public $n = 0; function put($c) {} function get($c) { $c->send('stats'); } }
class App {
    private $routes = [];
    static $all = [];
    function on($e, $f) { $this->routes[$e][] = $f; return $this; }
    function message($c, $data) { foreach ($this->routes[$data] ?? [] as $f) $f($c); }
}`
	const worker = `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = ON;
Workerman\Worker::runAll();`
	routes := func(start string) string {
		return classes + "\n" + start + strings.Replace(worker, "ON", "[$app, 'message']", 1)
	}
	modules := func(start string) string {
		return classes + "\n" + start + strings.Replace(worker, "ON", `function ($c, $data) { foreach ($GLOBALS['modules'] as $m) $m->$data($c); }`, 1)
	}
	rooms := func(start string) string {
		return classes + "\n" + start + strings.Replace(worker, "ON", `function ($c, $data) { foreach (App::$all as $name => $room) { if ($data === 'put') $room->in[$c->id] = $c; else $room->say("$name "); } $data === 'put' && $c->send('done'); }`, 1)
	}
	list := func(names string) string {
		return classes + `
class Hall { public $in = []; public $name; function __construct($name) { $this->name = $name; } }
foreach (` + names + ` as $name) { App::$all[] = new Hall($name); }` +
			strings.Replace(worker, "ON", `function ($c, $data) { if ($data === 'put') { App::$all[0]->in[$c->id] = $c; $c->send('done'); } else foreach (App::$all as $h) foreach ($h->in as $o) $o->send("$h->name " . count($h->in)); }`, 1)
	}
	const app = `$chat = new Chat; $app = (new App)->on('put', [$chat, 'put'])->on('get', [$chat, 'get']); unset($chat);`
	for name, x := range map[string]struct {
		before, after string
		says          []string
	}{
		"the same":                           {routes(app), routes(app), []string{"chat 1"}},
		"another method":                     {routes(app), routes(strings.Replace(app, "'get']", "'loud']", 1)), []string{"CHAT 1"}},
		"a renamed method":                   {routes(app), strings.ReplaceAll(routes(app), "loud", "none"), []string{"chat 1"}},
		"a listener more":                    {routes(app), routes(app + `$app->on('get', [new Stats, 'get']);`), []string{"chat 1", "stats"}},
		"a listener less":                    {routes(app + `$app->on('get', [new Stats, 'get']);`), routes(app), []string{"chat 1"}},
		"a closure beside":                   {routes(app + `$app->on('see', function () {});`), routes(app + `$app->on('get', function ($c) { $c->send('seen'); });`), []string{"chat 1", "seen"}},
		"modules":                            {modules(`$modules = [new Chat];`), modules(`$modules = [new Chat];`), []string{"chat 1"}},
		"a module more":                      {modules(`$modules = [new Chat];`), modules(`$modules = [new Chat, new Stats];`), []string{"chat 1", "stats"}},
		"a module more, in front":            {modules(`$modules = [new Chat];`), modules(`$modules = [new Stats, new Chat];`), []string{"stats", "chat 1"}},
		"a module less":                      {modules(`$modules = [new Stats, new Chat];`), modules(`$modules = [new Chat];`), []string{"chat 1"}},
		"the module is gone":                 {modules(`$modules = [new Stats, new Chat];`), modules(`$modules = [new Stats];`), []string{"END"}},
		"a renamed list":                     {modules(`$modules = [new Chat];`), strings.ReplaceAll(modules(`$modules = [new Chat];`), "modules", "parts"), []string{"chat 1"}},
		"rooms":                              {rooms(`App::$all = ['a' => new Room, 'b' => new Room];`), rooms(`App::$all = ['b' => new Room, 'a' => new Room];`), []string{"b 1", "a 1"}},
		"rooms of a list, one less in front": {list(`['a', 'b']`), list(`['b']`), []string{"END"}},
		"rooms of a list, one more in front": {list(`['a']`), list(`['new', 'a']`), []string{"a 1"}},
		"rooms of a list, in another order":  {list(`['a', 'b']`), list(`['b', 'a']`), []string{"a 1"}},
		"a room of a list with another name": {list(`['a', 'b']`), list(`['c', 'b']`), []string{"a 1"}},
		"a room more":                        {rooms(`App::$all = ['a' => new Room];`), rooms(`App::$all = ['a' => new Room, 'b' => new Room];`), []string{"a 1"}},
		"one of the rooms is gone":           {rooms(`App::$all = ['a' => new Room, 'b' => new Room];`), rooms(`App::$all = ['a' => new Room];`), []string{"END"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, x.before, x.after)
			var said []string
			for _, o := range orders {
				if text, ok := strings.CutPrefix(o, fmt.Sprintf("SEND %d ", uint64(big))); ok {
					said = append(said, text)
				} else if o == fmt.Sprintf("END/1012 %d service restart", uint64(big)) {
					said = append([]string{"END"}, said...)
				}
			}
			if x.says[0] == "END" && len(said) > 0 {
				said = said[:1]
			}
			if x.says[0] == "END" && !strings.Contains(h.log.String(), "and those who were in it are closed with 1012: the new code has no ") {
				t.Errorf("the log is\n%s", h.log)
			}
			if !slices.Equal(said, x.says) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestListeners: a list with closures, in which only objects of the start know connections, as that
// of a bus, is the new code's, as is all that callbacks have made of it: who knows the bus stays.
func TestListeners(t *testing.T) {
	const code = `
class Stats { public $last, $n = 0; function __invoke($u) { $this->last = $u; $this->n++; } }
class User { public $rooms = []; public object $c; public string $n; function __construct($c, $n) { $this->c = $c; $this->n = $n; } }
class Room { public $in = []; private Bus $bus; function __construct(Bus $bus) { $this->bus = $bus; }
    function enter($u) { $this->in[] = $u; $u->rooms[] = $this; $this->bus->fire($u); } function bus() { return $this->bus; } }
class App { public $users = [], $room; }
$app = new App;
%s
$bus = new Bus; $bus->on(new Stats); $bus->on(function ($u) {});
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use ($app, $bus) {
    if ($data !== 'get') {
        $app->room = $app->room ?: new Room($bus);
        $app->room->enter($app->users[$c->id] = new User($c, $data));
        return;
    }
    $u = $app->users[$c->id];
    $s = stats($bus);
    $bus->fire($u);
    $c->send($u->n . count($app->room->in) . ($u->rooms[0] === $app->room ? 'in' : 'out') . ($app->room->bus() === $bus ? 'one' : 'two') . ($s->last === $u ? $s->n : $s->n . '?'));
};
Workerman\Worker::runAll();`
	for name, bus := range map[string]string{
		"as they were":     `class Bus { private $l = []; function on($f) { $this->l[] = $f; } function fire($u) { foreach ($this->l as $f) $f($u); } function all() { return $this->l; } } function stats($bus) { return $bus->all()[0]; }`,
		"sorted later":     `class Bus { private $l = [], $sorted; function on($f) { $this->l[-count($this->l)][] = $f; } function fire($u) { if (!$this->sorted) { $l = $this->l; krsort($l); $this->sorted['enter'] = array_merge(...$l); } foreach ($this->sorted['enter'] as $f) $f($u); } function all() { return $this->l; } } function stats($bus) { return $bus->all()[0][0]; }`,
		"one more later":   `class Bus { private $l = []; function on($f) { $this->l[] = $f; } function fire($u) { $this->on(function () {}); foreach ($this->l as $f) $f($u); } function all() { return $this->l; } } function stats($bus) { return $bus->all()[0]; }`,
		"a storage":        `class Bus { private $l; function on($f) { $this->l = $this->l ?: new SplObjectStorage; $this->l[$f] = 1; } function fire($u) { foreach ($this->l as $f) $f($u); } function all() { return $this->l; } } function stats($bus) { foreach ($bus->all() as $f) return $f; }`,
		"a queue":          `class Bus { private $l; function on($f) { $this->l = $this->l ?: new SplPriorityQueue; $this->l->insert($f, -count($this->l)); } function fire($u) { foreach (clone $this->l as $f) $f($u); } function all() { return clone $this->l; } } function stats($bus) { return $bus->all()->extract(); }`,
		"static":           `class Bus { static $l = []; function on($f) { self::$l[] = $f; } function fire($u) { foreach (self::$l as $f) $f($u); } } function stats() { return Bus::$l[0]; }`,
		"static, and more": `class Bus { static $l = []; function on($f) { self::$l[] = $f; } function fire($u) { $this->on(function () {}); foreach (self::$l as $f) $f($u); } } function stats() { return Bus::$l[0]; }`,
		"global, and more": `$l = []; class Bus { function on($f) { $GLOBALS['l'][] = $f; } function fire($u) { foreach ($GLOBALS['l'] as $f) $f($u); $this->on(function () {}); } } function stats() { return $GLOBALS['l'][0]; }`,
		"of an object":     `class Listeners { public $all = [], $log; function __construct() { $this->log = fopen('php://memory', 'w'); } } class Bus { private $l; function on($f) { $this->l = $this->l ?: new Listeners; $this->l->all['enter'][] = $f; } function fire($u) { foreach ($this->l->all['enter'] as $f) $f($u); } function all() { return $this->l->all['enter']; } } function stats($bus) { return $bus->all()[0]; }`,
		"with its method":  `class Bus { private $l = []; function on($f) { $this->l['enter'] = $this->l['enter'] ?? [[$this, 'first']]; $this->l['enter'][] = $f; } function first($u) {} function fire($u) { foreach ($this->l['enter'] as $f) $f($u); } function all() { return $this->l['enter']; } } function stats($bus) { return $bus->all()[1]; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, next, closed, told := movedMany(t, fmt.Sprintf(code, bus), "ann", "bob", "eve")
			if closed != nil {
				t.Errorf("closed: %q\n%s%s", closed, h.log, next.log)
			}
			for i, name := range []string{"ann", "bob", "eve"} {
				if want := fmt.Sprintf("SEND %d %s3inone%d", big+uint64(i), name, i+4); !slices.Contains(told, want) {
					t.Errorf("no %q in %q\n%s", want, told, next.log)
				}
			}
		})
	}
}

// TestWrapped: an object of a callback that another one has around it now, or no more.
func TestWrapped(t *testing.T) {
	const classes = `
class Chat {
    public $in = [];
    function message($c, $data) { if ($data === 'put') $this->in[$c->id] = $c; $c->send($data === 'put' ? 'done' : 'in ' . count($this->in)); }
}
class Log { private $inner, $n = 0; function __construct($inner) { $this->inner = $inner; } function message($c, $data) { $this->n++; $this->inner->message($c, $data); } }
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [OBJECT, 'message'];
Workerman\Worker::runAll();`
	bare, wrapped, twice := strings.Replace(classes, "OBJECT", "new Chat", 1), strings.Replace(classes, "OBJECT", "new Log(new Chat)", 1), strings.Replace(classes, "OBJECT", "new Log(new Log(new Chat))", 1)
	for name, x := range map[string][2]string{
		"wrapped": {bare, wrapped}, "bare again": {wrapped, bare}, "twice": {bare, twice}, "once": {twice, wrapped}, "the same": {wrapped, wrapped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, x[0], x[1])
			if !slices.Contains(orders, fmt.Sprintf("SEND %d in 1", uint64(big))) || slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestReplaced: an object of the start that callbacks have put elsewhere, with another one or
// nothing in its place, is theirs, and so is a list that they have changed.
func TestReplaced(t *testing.T) {
	const code = `
class Game { public $in = []; public $n; function __construct($n) { $this->n = $n; } }
class Reg { static $i; public $in = []; static function i() { return self::$i = self::$i ?? new self; } }
class Chat {
    public $waiting, $games = [], $free = [], $busy = [], $queue, $halls, $kept, $by;
    function __construct() { $this->waiting = new Game(1); Reg::i(); $this->by = ['now' => null, 'f' => function () {}]; $this->free = [new Game('a'), new Game('b')]; $this->queue = new SplQueue; $this->queue[] = new Game('q'); $this->halls = new SplObjectStorage; $this->halls->attach(new Game('h')); $this->halls->attach(new Game('i')); }
    function message($c, $data) { if ($data === 'put') { $this->put($c); $c->send('done'); } else { $c->send('says ' . json_encode($this->get($c))); } }
    function put($c) { PUT; }
    function get($c) { return GET; }
}
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [new Chat, 'message'];
Workerman\Worker::runAll();`
	for name, x := range map[string][3]string{
		"by another": {`$this->waiting->in[$c->id] = $c; $this->games[] = $this->waiting; $this->waiting = new Game(2)`,
			`[$this->waiting->n, count($this->waiting->in), $this->games[0]->n, count($this->games[0]->in)]`, `[1,0,1,1]`},
		"by another, with clients": {`$this->games[] = $this->waiting; $this->waiting = new Game(2); $this->waiting->in[$c->id] = $c; $this->games[] = $c`,
			`[$this->waiting->n, count($this->waiting->in), $this->games[0]->n, count($this->games[0]->in)]`, `[2,1,1,0]`},
		"by nothing": {`$this->waiting->in[$c->id] = $c; $this->games[] = $this->waiting; $this->waiting = null`,
			`[count($this->waiting->in), count($this->games[0]->in)]`, `[0,1]`},
		"a singleton": {`Reg::i()->in[] = 5; $this->kept = [Reg::i(), $c]; Reg::$i = new Reg; Reg::i()->in[] = $c`,
			`[Reg::i() === $this->kept[0], count(Reg::i()->in), count($this->kept[0]->in)]`, `[false,1,1]`},
		"taken out of a list": {`$g = array_pop($this->free); $g->in[$c->id] = $c; $this->busy[] = $g`,
			`[count($this->free), $this->free[0]->n, count($this->busy), $this->busy[0]->n, count($this->busy[0]->in)]`, `[1,"a",1,"b",1]`},
		"taken out of the front": {`$g = array_shift($this->free); $g->in[$c->id] = $c; $this->busy[] = $g`,
			`[count($this->free), $this->free[0]->n, count($this->busy), $this->busy[0]->n, count($this->busy[0]->in)]`, `[1,"b",1,"a",1]`},
		"all": {`$this->kept = $this->free[1]; $this->kept->in[$c->id] = $c; $this->free = []`,
			`[count($this->free), count($this->kept->in)]`, `[0,1]`},
		"taken out of a queue": {`$g = $this->queue->dequeue(); $g->in[$c->id] = $c; $this->busy[] = $g`,
			`[count($this->queue), $this->busy[0]->n, count($this->busy[0]->in)]`, `[0,"q",1]`},
		"taken out of a storage": {`foreach ($this->halls as $h) { break; } $h->in[$c->id] = $c; $this->halls->detach($h); $this->busy[] = $h`,
			`[count($this->halls), $this->busy[0]->n, count($this->busy[0]->in)]`, `[1,"h",1]`},
		"named, beside a closure": {`$this->by['now'] = $this->free[1]; $this->free[1]->in[$c->id] = $c`,
			`[count($this->by), count($this->by['now']->in), $this->by['now'] === $this->free[1]]`, `[2,1,true]`},
		"taken out of a storage with clients": {`foreach ($this->halls as $h) { break; } $this->halls->detach($h); foreach ($this->halls as $h) { $h->in[$c->id] = $c; }`,
			`[count($this->halls), array_sum(array_map(function ($h) { return count($h->in); }, iterator_to_array($this->halls, false)))]`, `[1,1]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := strings.NewReplacer("PUT", x[0], "GET", x[1]).Replace(code)
			_, h, orders := movedFrom(t, code, code)
			says := fmt.Sprintf("SEND %d says %s", uint64(big), x[2])
			if !slices.Contains(orders, says) {
				t.Errorf("want %s: %q\n%s", x[2], orders, h.log)
			}
			h.numbersSeen()
			_, carried := h.stop(script.Successor)
			_, data, err := script.ParseCarry(carried)
			must(t, err)
			h = serve(t, program(t, code), "start")
			h.write(script.AppendCarry(nil, script.Carried, []uint64{big}, data))
			h.open(script.Resume, big, "")
			h.done()
			h.message(big, "get")
			if orders := h.done(); !slices.Contains(orders, says) {
				t.Errorf("after another reload, want %s: %q\n%s", x[2], orders, h.log)
			}
		})
	}
}

// TestTwoBecomeOne: of two objects, where the new code has one in both places, the second is
// not taken for the first.
func TestTwoBecomeOne(t *testing.T) {
	code := `
class Room { public $in = []; }
class Chat {
    public $a, $b;
    function __construct() { $this->a = new Room; $this->b = new Room; }
    function message($c, $data) { if ($data === 'put') $this->b->in[$c->id] = $c; $c->send($data === 'put' ? 'done' : 'a ' . count($this->a->in)); if ($data === 'both') $this->a->in[$c->id] = $c; }
}
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [new Chat, 'message'];
Workerman\Worker::runAll();`
	h := serve(t, program(t, code), "start")
	h.open(script.Open, big, "")
	h.open(script.Open, big+1, "")
	h.message(big, "put")
	h.message(big+1, "both")
	h.done()
	h.done()
	_, carried := h.stop(script.Successor)
	_, data, err := script.ParseCarry(carried)
	must(t, err)
	h = serve(t, program(t, strings.Replace(code, "$this->b = new Room", "$this->b = $this->a", 1)), "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{big, big + 1}, data))
	h.open(script.Resume, big, "")
	h.open(script.Resume, big+1, "")
	orders := h.done()
	h.message(big+1, "get")
	orders = append(orders, h.done()...)
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) || !slices.Contains(orders, fmt.Sprintf("SEND %d a 1", uint64(big+1))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	h.says("$b was not taken over, and those who were in it are closed with 1012: the new code has one object where two were")
}

// TestRoomsOfAListInTheLog: those of one list are one word of the line.
func TestRoomsOfAListInTheLog(t *testing.T) {
	h := serve(t, program(t, `
class Room { public $in = []; }
$rooms = [new Room, new Room, new Room];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $n) { $GLOBALS['rooms'][(int)$n]->in[$c->id] = $c; };
Workerman\Worker::runAll();`), "start")
	for i := range uint64(2) {
		h.open(script.Open, big+i, "")
		h.message(big+i, strconv.Itoa(int(i)))
	}
	h.done()
	h.stop(script.Successor)
	h.says("carried over: 2 Room in $rooms\n")
}

// TestHubBecomesTheCallbacks: an object that others know is the same to them once it is the
// object of the callbacks, which it was not before, and when it is none any more.
func TestHubBecomesTheCallbacks(t *testing.T) {
	const classes = `
class User { public $c, $hub; function __construct($c, $hub) { $this->c = $c; $this->hub = $hub; } }
class Hub {
    public $users = []; private static $one; private $log;
    function __construct() { self::$one = $this; }
    static function one() { return self::$one; }
    function message($c, $data) {
        if ($data === 'put') { $this->users[] = new User($c, $this); $this->users[] = new User($c, $this); $c->send('done'); return; }
        $c->send('hub ' . json_encode([$this->users[0]->hub === $this, $this->users[1]->hub === $this, self::$one === $this]));
    }
}
$hub = new Hub;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
`
	ways := map[string]string{
		"closure": `$w->onMessage = function ($c, $data) use ($hub) { $hub->message($c, $data); };`,
		"method":  `$w->onMessage = [$hub, 'message'];`,
		"static":  `unset($hub); $w->onMessage = function ($c, $data) { Hub::one()->message($c, $data); };`,
		"named":   `$w->onMessage = $hub->message(...);`,
	}
	for from, a := range ways {
		for to, b := range ways {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				_, h, orders := movedFrom(t, classes+a+"\nWorkerman\\Worker::runAll();", classes+b+"\nWorkerman\\Worker::runAll();")
				if !slices.Contains(orders, fmt.Sprintf("SEND %d hub [true,true,true]", uint64(big))) {
					t.Errorf("%q\n%s", orders, h.log)
				}
			})
		}
	}
}

// TestRoomPutInFront: rooms of a list are found by what they began with also where the class
// has another property since, or one less.
func TestRoomPutInFront(t *testing.T) {
	const code = `
class Room { public $in = []; public $name; /*MORE*/ public $plan = 'old'; function __construct($name) { $this->name = $name; } }
$rooms = [/*FRONT*/ new Room('lobby'), new Room('game')];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) {
    if ($data === 'put') { $GLOBALS['rooms'][1]->in[$c->id] = $c; $c->send('done'); return; }
    $c->send(implode(' ', array_map(function ($r) { return "$r->name:" . count($r->in); }, $GLOBALS['rooms'])));
};
Workerman\Worker::runAll();`
	front := []string{"/*FRONT*/", "new Room('vip'),"}
	for name, edit := range map[string][]string{
		"alone":              front,
		"and a new property": append(front[:2:2], "/*MORE*/", "public int $topic = 1;"),
		"and one less":       append(front[:2:2], "public $plan = 'old';", ""),
		"and another value":  append(front[:2:2], "'old'", "'new'"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, code, strings.NewReplacer(edit...).Replace(code))
			if !slices.Contains(orders, fmt.Sprintf("SEND %d vip:0 lobby:0 game:1", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}
