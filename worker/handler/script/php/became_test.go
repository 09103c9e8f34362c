package php_test

import (
	"fmt"
	"slices"
	"testing"
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
