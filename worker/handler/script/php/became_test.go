package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestObjectsStayOne: an object that the program makes at its start and that callbacks, or
// other places of the start, know by a second way is one after a reload, too.
func TestObjectsStayOne(t *testing.T) {
	const classes = `
class Room { public $in = []; }
class Seat { public readonly Room $room; function __construct(Room $room) { $this->room = $room; } }
class Chair { public readonly Seat $seat; public $n = 3; function __construct(Seat $seat) { $this->seat = $seat; } function room() { return $this->seat->room; } }
final class App { static $made = []; }
class Chat {
    public $users = [], $kept, $modules = []; public Room $lobby; private $log;
    function __construct(Room $lobby) { $this->lobby = $lobby; $this->log = function () {}; }
    function message($c, $data) {
        if ($data === 'put') { $this->lobby->in[$c->id] = $c; $this->users[$c->id] = $c; $this->put($c); $c->send('done'); return; }
        $c->send('says ' . json_encode([count($this->users), $this->get($c) === $this->lobby]));
    }
`
	program := func(start, put, get string) string {
		return classes + `
    function put($c) { ` + put + `; }
    function get($c) { return ` + get + `; }
}
` + start + `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [$chat, 'message'];
Workerman\Worker::runAll();`
	}
	const plain = `$chat = new Chat(new Room);`
	for name, x := range map[string][3]string{
		"of an object":             {plain, `$u = new stdClass; $u->c = $c; $u->room = $this->lobby; $this->kept = [$u]`, `$this->kept[0]->room`},
		"in an array":              {plain, `$this->kept = ['a' => ['b' => [$this->lobby, $c]]]`, `$this->kept['a']['b'][0]`},
		"in a storage":             {plain, `$this->kept = new SplObjectStorage; $this->kept[$this->lobby] = $c`, `$this->kept->contains($this->lobby) ? $this->lobby : 0`},
		"in a storage, as a value": {plain, `$this->kept = new SplObjectStorage; $this->kept[$c] = $this->lobby`, `$this->kept[$c]`},
		"in a list":                {plain, `$this->kept = new ArrayObject([$this->lobby, $c])`, `$this->kept[0]`},
		"in a queue":               {plain, `$this->kept = new SplQueue; $this->kept[] = $this->lobby; $this->kept[] = $c`, `$this->kept[0]`},
		"in a weak map":            {plain, `$this->kept = new WeakMap; $this->kept[$c] = $this->lobby`, `$this->kept[$c]`},
		"seven levels down":        {plain, `$this->kept = ['games' => ['a' => (object)['teams' => ['red' => (object)['players' => ['ann' => (object)['c' => $c, 'room' => $this->lobby]]]]]]]`, `$this->kept['games']['a']->teams['red']->players['ann']->room`},
		"readonly":                 {plain, `$this->kept = [$c->id => new Seat($this->lobby)]`, `$this->kept[$c->id]->room`},
		"readonly in readonly":     {plain, `$this->kept = [$c->id => new Chair(new Seat($this->lobby))]`, `$this->kept[$c->id]->room()`},
		"of a connection":          {plain, `$c->room = $this->lobby`, `$c->room`},
		"in one of a connection":   {plain, `$c->user = (object)['rooms' => [$this->lobby]]`, `$c->user->rooms[0]`},
		"in a context":             {plain, `$c->context->seat = new Seat($this->lobby)`, `$c->context->seat->room`},
		"a container":              {`$box = ['room' => new Room]; $chat = new Chat($box['room']);`, ``, `$GLOBALS['box']['room']`},
		"a container, later":       {`$chat = new Chat(new Room); $zoo = ['room' => $chat->lobby];`, ``, `$GLOBALS['zoo']['room']`},
		"a static container":       {`App::$made[Room::class] = new Room; $chat = new Chat(App::$made[Room::class]);`, ``, `App::$made[Room::class]`},
		"a module":                 {`$chat = new Chat($room = new Room); $chat->modules = [new Seat($room), (object)['room' => $room]]; unset($room);`, ``, `$this->modules[1]->room`},
		"a readonly module":        {`$chat = new Chat($room = new Room); $chat->modules = [new Seat($room), (object)['room' => $room]]; unset($room);`, ``, `$this->modules[0]->room`},
		"empty, at the reload":     {plain, `$this->kept = [new Seat($this->lobby), $c]; $this->lobby->in = []`, `$this->kept[0]->room`},
		"behind a large array":     {`$words = array_fill(0, 30000, 'w'); $zoo = (object)['room' => new Room]; $chat = new Chat(new Room);`, `$this->kept = [new Seat($GLOBALS['zoo']->room), $c]`, `$this->kept[0]->room === $GLOBALS['zoo']->room ? $this->lobby : 0`},
		"readonly wiring":          {`class Lobby { private $log; function __construct(public readonly array $halls) { $this->log = function () {}; } } $hall = new Lobby(['one' => new Room]); $chat = new Chat($hall->halls['one']);`, ``, `$GLOBALS['hall']->halls['one']`},
		"a global":                 {`$room = new Room; $chat = new Chat($room);`, ``, `$GLOBALS['room']`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := program(x[0], x[1], x[2])
			h, orders := moved(t, code, code)
			if !slices.Contains(orders, fmt.Sprintf("SEND %d says [1,true]", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestMuchAtTheStart: what is not looked at is said.
func TestMuchAtTheStart(t *testing.T) {
	h := serve(t, program(t, `
$much = array_fill(0, 30000, []);
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c) {};
Workerman\Worker::runAll();`), "start")
	h.open(script.Open, big, "")
	h.done()
	h.says("the start makes more than 20000 arrays and objects")
}

// TestOneOfTwoPlacesIsGone: an object that has gone to another place is not lost.
func TestOneOfTwoPlacesIsGone(t *testing.T) {
	const code = `
class Hub { public $in = []; }
class Stats { public $hub; function __construct($hub) { $this->hub = $hub; } function open($c) {} }
class Chat { private $hub; function __construct($hub) { $this->hub = $hub; } function message($c, $data) { if ($data === 'put') $this->hub->in[$c->id] = $c; $c->send($data === 'put' ? 'done' : 'in ' . count($this->hub->in)); } }
$hub = new Hub;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [new Chat($hub), 'message'];
$w->onConnect = [new Stats($hub), 'open'];
Workerman\Worker::runAll();`
	for name, edit := range map[string]*strings.Replacer{
		"callback": strings.NewReplacer("$w->onConnect = [new Stats($hub), 'open'];", ""),
		"class":    strings.NewReplacer("Stats", "Numbers"),
		"property": strings.NewReplacer("public $hub; function __construct($hub) { $this->hub = $hub; } function open", "public $all; function __construct($hub) { $this->all = $hub; } function open"),
		"global":   strings.NewReplacer("$hub = new Hub", "$all = new Hub", "Chat($hub)", "Chat($all)", "Stats($hub)", "Stats($all)"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, h, orders := movedFrom(t, code, edit.Replace(code))
			if !slices.Contains(orders, fmt.Sprintf("SEND %d in 1", uint64(big))) || slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestOneOfAMapStays: what cannot be carried is left out of a map, with who is in it, alone.
func TestOneOfAMapStays(t *testing.T) {
	for name, x := range map[string]struct{ players, put, hold string }{
		"array":         {`[]`, `$players[$c->id] = new Player($c)`, `$players[$c->id]->then = $then`},
		"storage":       {`new SplObjectStorage`, `$players[$c] = new Player($c)`, `$players[$c]->then = $then`},
		"storage's key": {`new SplObjectStorage`, `$players[new Player($c)] = 1`, `foreach ($players as $p) { if ($p->c === $c) { $p->then = $then; } }`},
		"object":        {`new ArrayObject`, `$players[$c->id] = new Player($c)`, `$players[$c->id]->then = $then`},
		"iterator":      {`new ArrayIterator`, `$players[$c->id] = new Player($c)`, `$players[$c->id]->then = $then`},
		"queue":         {`new SplQueue`, `$players[] = new Player($c)`, `$players->top()->then = $then`},
		"numbers":       {`new ArrayObject`, `$players[] = [spl_object_id($c)]`, `$players[1] = [spl_object_id($c), $then]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := `
class Player { public $c, $then; function __construct($c) { $this->c = $c; } }
class Hall { public $players; private $log; function __construct($players) { $this->players = $players; $this->log = function () {}; } }
$hall = new Hall(` + x.players + `);
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) {
    $players = &$GLOBALS['hall']->players;
    $then = function () {};
    if ($data === 'put') { ` + x.put + `; }
    if ($data === 'hold') { ` + x.put + "; " + x.hold + `; }
    $c->send($data === 'get' ? 'in ' . count($players) : 'done');
};
Workerman\Worker::runAll();`
			h := serve(t, program(t, code), "start")
			h.open(script.Open, big, "")
			h.open(script.Open, big+1, "")
			h.message(big, "put")
			h.message(big+1, "hold")
			bound := append(h.done(), h.numbersSeen()...)
			held, carried := h.stop(script.Successor)
			_, data, err := script.ParseCarry(carried)
			must(t, err)
			next := serve(t, program(t, code), "start")
			next.write(script.AppendCarry(nil, script.Carried, []uint64{big, big + 1}, data))
			next.open(script.Resume, big, "")
			next.open(script.Resume, big+1, "")
			orders := next.done()
			next.message(big, "get")
			orders = append(orders, next.done()...)
			isHeld := slices.Contains(bound, fmt.Sprintf("HELD+1 %d", uint64(big+1))) && !slices.Contains(held, fmt.Sprintf("HELD %d", uint64(big+1)))
			isClosed := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big+1)))
			if !isHeld && !isClosed || !slices.Contains(orders, fmt.Sprintf("SEND %d in 1", uint64(big))) {
				t.Errorf("%q %q %q\n%s\n%s", bound, held, orders, h.log, next.log)
			}
		})
	}
}
