package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// movedMany hands over clients, of which each has said a word, and gives whom that closes, by
// who is held by the process before, and what the others are told then.
func movedMany(t *testing.T, code string, words ...string) (h, next *host, closed []string, told []string) {
	t.Helper()
	h = serve(t, program(t, code), "start")
	id := func(i int) uint64 { return big + uint64(i) }
	for i := range words {
		h.open(script.Open, id(i), "")
	}
	for i, word := range words {
		h.message(id(i), word)
	}
	bound := h.done()
	orders, carried := h.stop(script.Successor)
	bound = append(bound, orders...)
	var data []byte
	if carried != nil {
		var err error
		_, data, err = script.ParseCarry(carried)
		must(t, err)
	}
	var stay []uint64
	for i, word := range words {
		held := 0
		for _, o := range bound {
			switch o {
			case fmt.Sprintf("HELD+1 %d", id(i)):
				held++
			case fmt.Sprintf("HELD %d", id(i)):
				held--
			}
		}
		if held > 0 {
			closed = append(closed, word)
		} else {
			stay = append(stay, id(i))
		}
	}
	next = serve(t, program(t, code), "start")
	if carried != nil {
		next.write(script.AppendCarry(nil, script.Carried, stay, data))
	}
	for _, id := range stay {
		next.open(script.Resume, id, "")
	}
	for _, o := range next.done() {
		for i, word := range words {
			if strings.HasPrefix(o, fmt.Sprintf("END/1012 %d ", id(i))) {
				closed = append(closed, word)
			}
		}
	}
	for _, id := range stay {
		next.message(id, "get")
	}
	slices.Sort(closed)
	return h, next, slices.Compact(closed), next.done()
}

// movedAll hands over clients, of which each has said a word, where pushd has closed none of them yet.
func movedAll(t *testing.T, code string, words ...string) (h, next *host, ids []uint64) {
	t.Helper()
	h = serve(t, program(t, code), "start")
	for i, word := range words {
		ids = append(ids, big+uint64(i))
		h.open(script.Open, ids[i], "")
		h.message(ids[i], word)
	}
	h.done()
	_, carried := h.stop(script.Successor)
	_, data, err := script.ParseCarry(carried)
	must(t, err)
	next = serve(t, program(t, code), "start")
	next.write(script.AppendCarry(nil, script.Carried, ids, data))
	for _, id := range ids {
		next.open(script.Resume, id, "")
	}
	return h, next, ids
}

// TestCloseOfWhoCannotGo: the close callback of who is closed for a property that cannot go has
// what is left of it, which leads to where the client is to be taken out.
func TestCloseOfWhoCannotGo(t *testing.T) {
	for name, x := range map[string][2]string{
		"object":    {`$c->p = new Player($c, $hall); $c->p->then = function () {};`, `$c->p`},
		"its log":   {`$c->p = new Player($c, $hall); $c->p->then = new Log;`, `$c->p`},
		"array":     {`$c->p = ['of' => new Player($c, $hall), 'then' => function () {}];`, `$c->p['of']`},
		"in arrays": {`$c->p = new Player($c, $hall); $c->p->all = [[$c->p], function () {}];`, `$c->p`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := `
class Log { private $to; function __construct() { $this->to = fopen('php://memory', 'w'); } }
class Player { public $c, $n = 'joe', $hall, $then, $all; function __construct($c, $hall) { $this->c = $c; $this->hall = $hall; } }
class Hall { public $names = [], $log; function __construct() { $this->log = function () {}; } }
$hall = new Hall;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use ($hall) {
    if ($data === 'bad') { ` + x[0] + ` $hall->names['joe'] = 1; }
    $c->send(implode(',', array_keys($hall->names)) . '.');
    $hall->names[$data] = $c;
};
$w->onClose = function ($c) use ($hall) { $p = ` + x[1] + `; if ($p->hall === $hall && $p->c === $c && $p->then === null && $hall->log) unset($hall->names[$p->n]); };
Workerman\Worker::runAll();`
			h := serve(t, program(t, code), "start")
			h.open(script.Open, big, "")
			h.open(script.Open, big+1, "")
			h.message(big, "ann")
			h.message(big+1, "bad")
			bound := h.done()
			orders, carried := h.stop(script.Successor)
			if bound = append(bound, orders...); !slices.Contains(bound, fmt.Sprintf("HELD+1 %d", big+1)) || slices.Contains(bound, fmt.Sprintf("HELD %d", big+1)) {
				t.Errorf("%q\n%s", bound, h.log)
			}
			_, data, err := script.ParseCarry(carried)
			must(t, err)
			next := serve(t, program(t, code), "start")
			next.write(script.AppendCarry(nil, script.Carried, []uint64{big, big + 1}, data))
			next.open(script.Resume, big, "")
			next.open(script.Resume, big+1, "")
			next.done()
			next.closed(big + 1)
			next.message(big, "get")
			if told := next.done(); !slices.Contains(told, fmt.Sprintf("SEND %d ann,bad.", uint64(big))) {
				t.Errorf("%q\n%s", told, next.log)
			}
		})
	}
}

// TestCloseComesFirst: who is closed for what he has, or is in, has his close callback before anybody
// else's event, and finds himself where he was; what he leaves there is taken out behind it.
func TestCloseComesFirst(t *testing.T) {
	const code = `
class User { public $c, $n, $then, $room; function __construct($c, $n) { $this->c = $c; $this->n = $n; } }
class Room { public $in = [], $all, $then; function __construct() { $this->all = new SplObjectStorage; } }
$hall = new Room; $log = [];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use ($hall) {
    if ($data === 'get') { $c->send(json_encode([$GLOBALS['log'], seen($hall)])); return; }
    $u = $c->u = new User($c, $data);
    put($hall, $u);
    if ($data === 'bad') { $u->then = function () {}; }
};
$w->onClose = function ($c) use ($hall) { $GLOBALS['log'][] = $c->u->n . ($c->u->c === $c) . gettype($c->u->then); leave($hall, $c->u); };
Workerman\Worker::runAll();
`
	for name, x := range map[string]struct{ put, seen, leave, want string }{
		"searched for":     {`$hall->in[] = $u;`, `return array_column($hall->in, 'n');`, `$i = array_search($u, $hall->in, true); unset($hall->in[$i]); $hall->in = array_values($hall->in);`, `[["bad1NULL"],["ann","bob"]]`},
		"spliced":          {`$hall->in[] = $u;`, `return array_column($hall->in, 'n');`, `array_splice($hall->in, array_search($u, $hall->in, true), 1);`, `[["bad1NULL"],["ann","bob"]]`},
		"a record":         {`$hall->in[$u->n] = ['user' => $u, 'since' => 1];`, `foreach ($hall->in as $n => $r) $all[] = $n . $r['user']->n . $r['since']; return $all;`, `unset($hall->in[$u->n]);`, `[["bad1NULL"],["annann1","bobbob1"]]`},
		"detached":         {`$hall->all[$u] = [1];`, `foreach ($hall->all as $u) $all[] = $u->n; return $all;`, `if (!isset($hall->all[$u])) exit(1); $hall->all->detach($u);`, `[["bad1NULL"],["ann","bob"]]`},
		"stays":            {`$hall->in[] = $u; $hall->all[$u] = $u;`, `$all = []; foreach ($hall->all as $u) $all[] = $u->n; return [array_keys($hall->in), $all];`, ``, `[["bad1NULL"],[[0,1],["ann","bob"]]]`},
		"stays in records": {`$hall->in[] = ['user' => $u, 'since' => 1];`, `return [array_keys($hall->in), array_map('count', $hall->in)];`, ``, `[["bad1NULL"],[[0,1],[2,2]]]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := `function put($hall, $u) { ` + x.put + ` } function seen($hall) { ` + x.seen + ` } function leave($hall, $u) { ` + x.leave + ` }` + code
			h, next, ids := movedAll(t, code, "ann", "bad", "bob")
			next.message(ids[1], "get") // nobody hears it
			next.message(ids[0], "get")
			next.closed(ids[1])
			told := slices.DeleteFunc(next.done(), func(o string) bool { return strings.HasPrefix(o, "HELD") })
			if !slices.Equal(told, []string{fmt.Sprintf("END/1012 %d service restart", ids[1]), fmt.Sprintf("SEND %d %s", ids[0], x.want)}) {
				t.Errorf("%q\n%s%s", told, h.log, next.log)
			}
		})
	}
}

// TestCloseFindsWhatTheStartMade: the close callback of who is closed for what cannot go finds the
// new code's objects where its own refer to those that the start makes.
func TestCloseFindsWhatTheStartMade(t *testing.T) {
	const code = `
class Stats { public $last; function __invoke($u) { $this->last = $u; } }
class Bus { public $heard = []; public readonly array $all; function __construct(...$all) { $this->all = $all; } function fire($u) { foreach ($this->all as $f) $f($u); $this->heard[] = $u->n; } }
class User { public $c, $n, $room; function __construct($c, $n) { $this->c = $c; $this->n = $n; } }
class Room { public $in = [], $then; private Bus $bus; function __construct(Bus $bus) { $this->bus = $bus; } function enter($u) { $this->in[] = $u; $u->room = $this; $this->bus->fire($u); }
    function leave($u) { array_splice($this->in, array_search($u, $this->in, true), 1); $this->bus->fire($u); } }
$users = []; $left = []; $room = null;
$bus = new Bus(new Stats, function () {});
$app = (object)['bus' => new Bus(function () {})];
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use (&$users, $bus, &$left) {
    if ($data === 'get') { $c->send(json_encode([$left, count($users), $bus === $GLOBALS['bus']])); return; }
    if ($data !== 'sees') { %s }
};
$w->onClose = function ($c) use (&$users, $bus, &$left) { $u = %s; $u->room->leave($u); $left[] = $u->n . end($bus->heard); unset($users[$c->id]); };
Workerman\Worker::runAll();`
	for name, x := range map[string][2]string{
		"in a list":                      {`($GLOBALS['room'] = $GLOBALS['room'] ?: new Room($bus))->enter($users[$c->id] = new User($c, $data));`, `$users[$c->id]`},
		"of the connection":              {`$c->u = $users[$c->id] = new User($c, $data); ($GLOBALS['room'] = $GLOBALS['room'] ?: new Room($bus))->enter($c->u);`, `$c->u`},
		"of the connection, a room each": {`$c->u = new User($c, $data); (new Room($bus))->enter($c->u);`, `$c->u`},
		"a room with nobody":             {`$c->n = $data; $c->r = new Room($GLOBALS['app']->bus);`, `new User($c, $c->n); $u->room = $c->r; $bus = $GLOBALS['app']->bus`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := fmt.Sprintf(code, x[0], x[1])
			h, next, ids := movedAll(t, code, "ann", "bob", "sees")
			next.closed(ids[0])
			next.closed(ids[1]) // who is closed already is not heard of
			next.message(ids[2], "get")
			told := next.done()
			if want := fmt.Sprintf(`SEND %d [["annann","bobbob"],0,true]`, ids[2]); !slices.Contains(told, want) {
				t.Errorf("%q\n%s%s", told, h.log, next.log)
			}
		})
	}
}

// TestWhoIsInIt: what cannot go costs those who are in it, and not those whom it only knows.
func TestWhoIsInIt(t *testing.T) {
	const classes = `
class Person { public $c, $n, $friends = [], $then, $friend; function __construct($c, $n) { $this->c = $c; $this->n = $n; } }
class Room { public $n, $in = [], $then, $hall; public ?Person $host = null; }
class Duel { public $n, $in = []; public Person $host; }
class Heap extends SplMinHeap { public $n, $in = [], $log; }
class Hall { public $rooms = [], $leader, $others = []; }
$hall = new Hall;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use ($hall) {
    if ($data === 'get') {
        $c->send($c->p->n . ' ' . json_encode(array_map('count', array_column($hall->rooms, 'in', 'n'))) . gettype($hall->leader) . count($hall->others) . count($c->p->friends));
        return;
    }
    $c->p = new Person($c, $data);
    put($hall, $c->p, $data);
};
%s
Workerman\Worker::runAll();`
	for name, x := range map[string]struct {
		put          string
		closed, told []string
	}{
		"a room":                  {`$r = $hall->rooms[$data[0]] = $hall->rooms[$data[0]] ?? new Room; $r->hall = $hall; $r->n = $data[0]; $r->in[] = $p; if ($data === 'a2') { $r->then = function () {}; }`, []string{"a1", "a2", "a3"}, []string{`b1 {"b":1}NULL00`}},
		"what only it knows":      {`$hall->others[] = $p; if ($data[0] === 'a') { $r = $hall->rooms['r'] = $hall->rooms['r'] ?? new Room; $r->hall = $r->hall ?? new Room; $r->hall->in[] = $p; $r->then = function () {}; }`, []string{"a1", "a2", "a3"}, []string{`b1 []NULL40`}},
		"on the connection alone": {`$r = $hall->rooms['r'] = $hall->rooms['r'] ?? new Room; $r->n = 'r'; if ($data === 'a2') { $p->friends = [$r]; $p->then = function () {}; } else { $r->in[] = $p; }`, []string{"a2"}, []string{`a1 {"r":3}NULL00`, `a3 {"r":3}NULL00`, `b1 {"r":3}NULL00`}},
		"a leader":                {`$r = $hall->rooms['r'] = $hall->rooms['r'] ?? new Room; $r->n = 'r'; $r->in[] = $p; if ($data === 'a2') { $hall->leader = $p; $p->then = function () {}; }`, []string{"a2"}, []string{`a1 {"r":3}NULL00`, `a3 {"r":3}NULL00`, `b1 {"r":3}NULL00`}},
		"a room's host":           {`$r = $hall->rooms['r'] = $hall->rooms['r'] ?? new Room; $r->n = 'r'; $r->in[] = $p; $r->host = $r->host ?? $p; if ($data === 'a1') { $p->then = function () {}; }`, []string{"a1"}, []string{`a2 {"r":3}NULL00`, `a3 {"r":3}NULL00`, `b1 {"r":3}NULL00`}},
		"a host that has to be":   {`$r = $hall->rooms['r'] = $hall->rooms['r'] ?? new Duel; $r->n = 'r'; $r->in[] = $p; $r->host = $r->host ?? $p; if ($data === 'a1') { $p->then = function () {}; }`, []string{"a1", "a2", "a3", "b1"}, nil},
		"a row of partners":       {`if ($last = end($hall->others)) { $last->friend = $p; } $hall->others[] = $p; if ($data === 'b1') { $p->then = function () {}; }`, []string{"b1"}, []string{`a1 []NULL30`, `a2 []NULL30`, `a3 []NULL30`}},
		"a friend":                {`$hall->others[] = $p; foreach ($hall->others as $o) { $o->friends = $hall->others; } if ($data === 'b1') { $hall->others[1]->then = function () {}; $hall->others[1]->friends = []; }`, []string{"a2"}, []string{`a1 []NULL33`, `a3 []NULL33`, `b1 []NULL33`}},
		"a heap with a file":      {`if (!isset($hall->rooms['h'])) { $hall->rooms['h'] = new Heap; $hall->rooms['h']->n = 'h'; } $hall->rooms['h']->in[] = $p; if ($data === 'a2') { $hall->rooms['h']->log = fopen('php://memory', 'w'); }`, []string{"a1", "a2", "a3", "b1"}, nil},
		"his friends":             {`$hall->others[] = $p; if ($data === 'a2') { $p->then = function () {}; $p->friends = [$hall->others[0]]; }`, []string{"a1", "a2"}, []string{`a3 []NULL30`, `b1 []NULL30`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, next, closed, told := movedMany(t, fmt.Sprintf(classes, `function put($hall, $p, $data) { `+x.put+` }`), "a1", "a2", "a3", "b1")
			if !slices.Equal(closed, x.closed) {
				t.Errorf("closed: %q\n%s", closed, h.log)
			}
			for _, want := range x.told {
				if !slices.ContainsFunc(told, func(o string) bool { return strings.HasSuffix(o, " "+want) }) {
					t.Errorf("no %q in %q\n%s", want, told, next.log)
				}
			}
		})
	}
}

// TestOneCostsHimAlone: a player with a closure is closed at a reload, and nobody else of his
// team, though each of them knows the team and it knows all: in whatever they are.
func TestOneCostsHimAlone(t *testing.T) {
	const code = `
class Log { private $to; function __construct() { $this->to = fopen('php://memory', 'w'); } }
class Player { public $c, $n, $then, $team, $friends = []; function __construct($c, $n) { $this->c = $c; $this->n = $n; } }
class Team { public $in = [], $last, $rounds = [[], []], $set; function __construct() { $this->set = new SplObjectStorage; }
    function put($p, $k) { $this->in[$k] = $p; } function all() { return $this->in; } }
class InStorage extends Team { function put($p, $k) { $this->set[$p] = $k; } function all() { foreach ($this->set as $p) { $all[] = $p; } return $all; } }
class AsValue extends Team { function put($p, $k) { $this->set[$p->c] = ['p' => $p]; } function all() { foreach ($this->set as $c) { $all[] = $this->set[$c]['p'] ?? null; } return array_filter($all); } }
class Deep extends Team { function put($p, $k) { $this->rounds[1]['a'][$k] = $p; } function all() { return $this->rounds[1]['a']; } }
class InQueue extends Team { private $queue; function put($p, $k) { $this->queue = $this->queue ?: new SplQueue; $this->queue[] = $p; } function all() { return iterator_to_array($this->queue); } }
class Heap extends SplMinHeap { public $n, $log; private $h; function put($p, $k) { $this->h[$k] = $p; $this->insert(0); } function all() { return $this->h; } }
class Ranked extends SplPriorityQueue { private $rule; function __construct() { $this->rule = function ($a, $b) { return $b <=> $a; }; } function compare($a, $b): int { return ($this->rule)($a, $b); } function put($p, $k) { $this->insert($p, $k); } function all() { for ($x = clone $this; !$x->isEmpty();) { $all[] = $x->extract(); } return $all; } }
class Many extends SplObjectStorage { public $rooms = []; function put($p, $k) { $this->attach($p); $this->rooms[$k] = $p; } function all() { return $this->rooms; } }
final class App { static $teams = []; }
%s
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) use (&$teams, $all) {
    if ($data === 'get') {
        $p = player($c);
        $c->send($p->n . ' ' . count($p->team->all()) . ' ' . (in_array($p, $p->team->all(), true) ? 'in' : 'out') . ' ' . ($p->team === team() ? 'one' : 'two'));
        return;
    }
    $p = new Player($c, $data);
    $p->team = team();
    put($c, $p);
    $p->team->put($p, "$data $c->id");
    if ($data === 'bad') { bad($p); }
};
Workerman\Worker::runAll();`
	const ofStart, made = `$all = new %s; $teams = []; function team() { return $GLOBALS['all']; } `, `$all = null; $teams = []; function team() { return $GLOBALS['teams']['red'] = $GLOBALS['teams']['red'] ?? new %s; } `
	const ofConnection, inArray = `function player($c) { return $c->player; } function put($c, $p) { $c->player = $p; } `,
		`$players = []; function player($c) { return $GLOBALS['players'][$c->id]; } function put($c, $p) { $GLOBALS['players'][$c->id] = $p; } `
	const inStatic = `function player($c) { return App::$teams[$c->id]['p']; } function put($c, $p) { App::$teams[$c->id] = ['p' => $p]; } `
	bad := map[string]string{
		"closure":  `function bad($p) { $p->then = function () {}; }`,
		"closures": `function bad($p) { $p->then = ['hit' => [function () {}]]; }`,
		"file":     `function bad($p) { $p->then = fopen('php://memory', 'w'); }`,
		"log":      `function bad($p) { $p->then = new Log; }`,
	}
	for name, x := range map[string][2]string{
		"array":                       {ofStart, "Team"},
		"array, made later":           {made, "Team"},
		"storage":                     {ofStart, "InStorage"},
		"storage, made later":         {made, "InStorage"},
		"filed with, made later":      {made, "AsValue"},
		"arrays in arrays":            {ofStart, "Deep"},
		"queue, made later":           {made, "InQueue"},
		"a storage's own, made later": {made, "Many"},
		"a heap's own, made later":    {made, "Heap"},
		"a storage's own":             {ofStart, "Many"},
		"queue with a rule":           {ofStart, "Ranked"},
	} {
		for why, bad := range bad {
			for where, put := range map[string]string{"of the connection": ofConnection, "in an array": inArray, "in a static array": inStatic} {
				t.Run(name+"/"+why+"/"+where, func(t *testing.T) {
					t.Parallel()
					h, next, closed, told := movedMany(t, fmt.Sprintf(code, fmt.Sprintf(x[0], x[1])+put+bad), "ann", "bad", "bob")
					if !slices.Equal(closed, []string{"bad"}) {
						t.Errorf("closed: %q\n%s", closed, h.log)
					}
					for i, name := range map[int]string{0: "ann", 2: "bob"} {
						if want := fmt.Sprintf("SEND %d %s 2 in one", big+uint64(i), name); !slices.Contains(told, want) {
							t.Errorf("no %q in %q\n%s", want, told, next.log)
						}
					}
				})
			}
		}
	}
}
