package php_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/script"
)

const (
	manyClients    = 8000
	fewClients     = manyClients / 4
	mostOfCarrying = 20 * time.Second // of the carry, and of the take-over
)

// shape is a program by what it keeps of its clients.
type shape struct {
	name   string
	code   string
	became *strings.Replacer // what an edit makes of the code
	from   int               // processes that one goes on for; 1
	slow   bool              // its reload was: TestReloadInTime
}

// workerman is a program of Workerman. In message $c is the client.
func workerman(start, message string) string {
	return start + `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { ` + message + ` };
Workerman\Worker::runAll();`
}

// ratchet is a component of Ratchet. In open $c is the client.
func ratchet(properties, construct, open string) string {
	return `class Chat implements Ratchet\MessageComponentInterface {
    ` + properties + `
    function __construct() { ` + construct + ` }
    function onOpen(Ratchet\ConnectionInterface $c) { ` + open + ` }
    function onMessage(Ratchet\ConnectionInterface $c, $data) {}
    function onClose(Ratchet\ConnectionInterface $c) {}
    function onError(Ratchet\ConnectionInterface $c, Exception $e) {}
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), 2346)->run();`
}

// swoole is a program of Swoole. In message $f->fd is the client.
func swoole(start, message string) string {
	return start + `
$server = new Swoole\WebSocket\Server('0.0.0.0', 2346);
$server->on('message', function ($server, $f) { ` + message + ` });
$server->start();`
}

const (
	userAndLobby = `class User { public $c, $room, $f; function __construct($c, $room) { $this->c = $c; $this->room = $room; } }
class Lobby { public $in = [], $f; }
$lobby = new Lobby; $users = [];`
	userInLobby = `global $users, $lobby; $lobby->in[] = $users[$c->id] = $u = new User($c, $lobby);`

	roomsOfUsers = `class Room { public $n, $users = [], $f; function __construct($n) { $this->n = $n; } }
class User { public $c, $room, $friends = [], $name = ''; }
$rooms = [];`
	userInRoom = `global $rooms; $n = $c->id % 200; $u = new User; $u->c = $c; $u->name = "user $c->id";
$room = $rooms[$n] ??= new Room($n); $u->room = $room;
foreach (array_slice($room->users, -5) as $friend) { $u->friends[] = $friend; $friend->friends[] = $u; }
$room->users[$c->id] = $u;`

	clientsOfHub = `class User { public $c, $hub, $friends = []; } class Hub { public $users = [], $log; } $hub = new Hub;`
	clientOfHub  = `global $hub; $c->user = $u = new User; $u->c = $c; $u->hub = $hub; $u->friends = array_slice($hub->users, -3); $hub->users[] = $u;`

	listOfUsers = `class User { public $c, $name = 'x', $old = 1; }
$users = [];`
	userInList = `global $users; $users[$c->id] = $u = new User; $u->c = $c;`
)

var shapes = []shape{
	{name: "array", code: workerman(`$all = [];`, `$GLOBALS['all'][$c->id] = $c;`)},
	{name: "array of arrays", code: workerman(`$all = [];`, `$GLOBALS['all'][$c->id % 200][$c->id] = ['c' => $c, 'name' => 'x', 'at' => [1, 2]];`)},
	{name: "numbers", code: workerman(`$all = []; $names = [];`, `global $all, $names; $all[$c->id] = 1; $names["n$c->id"] = spl_object_id($c);`)},
	{name: "SplObjectStorage with data", code: workerman(`$all = new SplObjectStorage;`, `$GLOBALS['all'][$c] = ['n' => 1];`)},
	{name: "SplObjectStorage, half with closures", code: workerman(`$all = new SplObjectStorage;`, `$GLOBALS['all'][$c] = $c->id % 2 ? function () {} : 1;`)},
	{name: "SplObjectStorage that each user knows", code: workerman(`class User { public $c, $all; } $all = new SplObjectStorage;`, `global $all; $u = new User; $u->c = $c; $u->all = $all; $all[$u] = ['n' => 1];`)},
	{name: "SplObjectStorage that each user knows, half with closures", code: workerman(`class User { public $c, $all, $f; } $all = new SplObjectStorage;`, `global $all; $u = new User; $u->c = $c; $u->all = $all; $all[$u] = ['n' => 1]; if ($c->id % 2) $u->f = function () {};`)},
	{name: "SplObjectStorage of eight subscriptions each, all with closures", slow: true, code: workerman(`class Subscription {} $all = new SplObjectStorage;`, `for ($i = 0; $i < 8; $i++) $GLOBALS['all'][new Subscription] = [$c, function () {}];`)},
	{name: "SplObjectStorage in SplObjectStorage", code: workerman(`class Room {} $all = new SplObjectStorage; $rooms = [];`,
		`global $all, $rooms; $room = $rooms[$c->id % 200] ??= new Room; isset($all[$room]) || $all[$room] = new SplObjectStorage; $all[$room][$c] = ['room' => $room];`)},
	{name: "of SplObjectStorage, with properties", code: workerman(`class Users extends SplObjectStorage { public $by = []; public $last; } $all = new Users;`,
		`global $all; $all[$c] = ['n' => 1]; $all->by[$c->id] = $c; $all->last = $c;`)},
	{name: "ArrayObject, half with closures", code: workerman(`$all = new ArrayObject;`, `$GLOBALS['all'][] = [$c, $c->id % 2 ? function () {} : 1];`)},
	{name: "ArrayObject of arrays", code: workerman(`$all = new ArrayObject;`, `$GLOBALS['all'][$c->id] = ['c' => $c, 'tags' => ['a', 'b'], 'to' => new ArrayObject([$c])];`)},
	{name: "SplQueue", code: workerman(`$all = new SplQueue;`, `$GLOBALS['all'][] = [$c->id, $c];`)},
	{name: "SplPriorityQueue", code: workerman(`$all = new SplPriorityQueue;`, `$GLOBALS['all']->insert($c, $c->id);`)},
	{name: "SplFixedArray", code: workerman(`$all = new SplFixedArray(20000); $k = 0;`, `$GLOBALS['all'][$GLOBALS['k']++] = $c;`)},
	{name: "WeakMap", code: workerman(`$all = new WeakMap;`, `$GLOBALS['all'][$c] = ['n' => 1];`)},
	{name: "WeakMap of users", code: workerman(`class User { public $n = 1; } $all = new WeakMap; $users = [];`,
		`global $all, $users; $all[$c] = $u = new User; $users[$c->id] = [$c, $u];`)},
	{name: "WeakMap by users", code: workerman(`class User { public $c; } class Hub { public $seen, $users = []; function __construct() { $this->seen = new WeakMap; } } $hub = new Hub;`,
		`global $hub; $u = $hub->users[$c->id] = new User; $u->c = $c; $hub->seen[$u] = ['at' => 1, 'c' => $c];`)},

	{name: "users and a lobby", code: workerman(userAndLobby, userInLobby)},
	{name: "users and a lobby with a closure", code: workerman(`$log = function () {};`+userAndLobby+`$lobby->f = $log;`, userInLobby)},
	{name: "users and a lobby, one in 1000 with a closure", code: workerman(userAndLobby, userInLobby+`if ($c->id % 1000 === 1) $u->f = function () {};`)},
	{name: "users and a lobby, half with closures", code: workerman(userAndLobby, userInLobby+`if ($c->id % 2) $u->f = function () {};`)},
	{name: "users with closures", code: workerman(`class User { public $c, $f; } $users = [];`, `$u = new User; $u->c = $c; $u->f = function () {}; $GLOBALS['users'][$c->id] = $u;`)},
	{name: "users in a lobby of SplObjectStorage, half with closures", code: workerman(
		`class User { public $c, $room, $f; } class Lobby extends SplObjectStorage {} $lobby = null;`,
		`global $lobby; $lobby ??= new Lobby; $u = new User; $u->c = $c; $u->room = $lobby; $c->user = $u; $lobby[$u] = ['a' => $c, 'l' => [$u]]; if ($c->id % 2) $u->f = function () {};`)},
	{name: "rooms of users who know each other", code: workerman(roomsOfUsers, userInRoom)},
	{name: "rooms, each with a closure", code: workerman(roomsOfUsers, userInRoom+`$room->f = function () {};`)},
	{name: "rooms of one", code: workerman(`class Room { public $in = [], $n; } $rooms = [];`, `$GLOBALS['rooms'][$c->id] = $r = new Room; $r->n = $c->id; $r->in[$c->id] = $c;`)},
	{name: "readonly properties", code: workerman(
		`class Room { function __construct(public readonly int $n) {} } class Seat { function __construct(public readonly Room $room, public readonly object $c) {} } $lobby = new Room(1); $seats = [];`,
		`global $seats, $lobby; $seats[$c->id] = new Seat($lobby, $c);`)},
	{name: "enums", code: workerman(`enum State: string { case In = 'in'; } class User { public $state, $c; } $users = [];`, `$GLOBALS['users'][$c->id] = $u = new User; $u->c = $c; $u->state = State::In;`)},
	{name: "__sleep", code: workerman(`class User { public $c, $n = 1; function __sleep() { return ['n']; } } $users = [];`, `$GLOBALS['users'][$c->id] = $u = new User; $u->c = $c;`)},
	{name: "each knows the client before", code: workerman(`class Node { public $before, $c; } $all = []; $last = null;`,
		`global $all, $last; $n = new Node; $n->c = $c; $n->before = $last ? $last->c : null; $all[] = $last = $n;`)},
	{name: "linked list in pieces of 30", code: workerman(`class Node { public $before, $next, $c; } $all = []; $last = null;`,
		`global $all, $last; $n = new Node; $n->c = $c; if (count($all) % 30) { $n->before = $last; $last->next = $n; } $all[] = $last = $n;`)},
	// The objects beside the clients are many, and hang on one that cannot go.
	{name: "tiles of a board with a closure", code: workerman(`class Tile { public $board; } class Board { public $tiles = [], $f; } class Room { public $board, $in = []; } $room = new Room;`,
		`global $room;
if (!$room->board) { $b = $room->board = new Board; $b->f = function () {}; for ($i = 0; $i < 8000; $i++) { $t = $b->tiles[] = new Tile; $t->board = $b; } }
$room->in[] = $c;`)},
	{name: "game with 10000 cells and 200 players", code: workerman(`class Cell { public $x, $y, $who, $near = []; } class Player { public $c, $cell, $game; } class Game { public $cells = [], $players = [], $watch = []; } $game = new Game;`,
		`global $game;
if (!$game->cells) { for ($i = 0; $i < 10000; $i++) { $k = $game->cells[$i] = new Cell; $k->x = $i % 100; $k->y = intdiv($i, 100); if ($i % 100) { $k->near[] = $game->cells[$i - 1]; } } }
if (count($game->players) < 200) { $p = new Player; $p->c = $c; $p->game = $game; $p->cell = $game->cells[count($game->players) * 50]; $p->cell->who = $p; $game->players[$c->id] = $p; } else { $game->watch[] = $c; }`)},
	{name: "board of 10000 cells who know it, without players", code: workerman(`class Cell { public $board, $near = []; } class Board { public $cells = []; } class Room { public $board, $in = []; } $room = new Room;`,
		`global $room;
if (!$room->board) { $b = $room->board = new Board; for ($i = 0; $i < 10000; $i++) { $k = $b->cells[$i] = new Cell; $k->board = $b; if ($i % 100) { $k->near[] = $b->cells[$i - 1]; } } }
$room->in[] = $c;`)},
	{name: "boards of rooms, who are without players", code: workerman(`class Cell { public $board; } class Board { public $cells = []; } class Room { public $board, $in = []; } $rooms = [];`,
		`global $rooms;
if (!$room = $rooms[$c->id % 200] ?? null) { $room = $rooms[$c->id % 200] = new Room; $b = $room->board = new Board; for ($i = 0; $i < 100; $i++) { $k = $b->cells[$i] = new Cell; $k->board = $b; } }
$room->in[] = $c;`)},
	{name: "timers' ids beside clients", code: workerman(`$timers = []; $all = [];`, `global $timers, $all; $all[$c->id] = $c; if (count($timers) < 5000) $timers[$c->id] = Workerman\Timer::add(600, 'time');`)},
	{name: "history of 20000 beside clients", code: workerman(`class Room { public $history = [], $in = []; } $room = new Room;`,
		`global $room; $room->in[$c->id] = $c; if (!$room->history) for ($i = 0; $i < 20000; $i++) $room->history[] = ['from' => "user $i", 'text' => str_repeat('x', 50), 'at' => $i];`)},
	{name: "history of 20000 objects that know the author", code: workerman(`class Line { public $by, $text; } class Room { public $history = [], $in = []; } $room = new Room;`,
		`global $room; $room->in[$c->id] = $c; for ($i = 0; $i < 20000 && count($room->history) < 20000; $i += 1000) { $l = $room->history[] = new Line; $l->by = $c; $l->text = "line $i"; }`)},

	{name: "properties of clients", code: workerman(`class User { public $n = 1, $lobby; } class Lobby {} $lobby = new Lobby;`, `$c->user = new User; $c->user->lobby = $GLOBALS['lobby']; $c->name = "x$c->id";`)},
	{name: "properties of clients who know a hub", code: workerman(clientsOfHub, clientOfHub)},
	{name: "properties of clients who know a hub with a closure", code: workerman(`class User { public $c, $hub; } class Hub { public $users = []; public $f; } $hub = null;`,
		`global $hub; if (!$hub) { $hub = new Hub; $hub->f = function () {}; } $c->user = $u = new User; $u->c = $c; $u->hub = $hub; $hub->users[] = $u;`)},
	{name: "callbacks with names", code: workerman(`function check($c, $data) {}`, `$c->onMessage = 'check';`)},
	{name: "callbacks of objects", code: workerman(`class Session { public $c, $seen = 0; function __construct($c) { $this->c = $c; } function message($c, $data) { $this->seen++; } }`, `$c->onMessage = [new Session($c), 'message'];`)},
	{name: "callbacks that are closures", code: workerman(``, `$c->onMessage = function ($c, $data) {};`)},

	{name: "Ratchet, SplObjectStorage", code: ratchet(`public $clients, $log;`, `$this->clients = new SplObjectStorage; $this->log = function () {};`, `$this->clients->attach($c);`)},
	{name: "Ratchet, SplObjectStorage with data", code: ratchet(`public $clients, $rooms = [];`, `$this->clients = new SplObjectStorage;`,
		`$u = (object)['name' => "user $c->resourceId", 'room' => $c->resourceId % 100]; $this->clients->attach($c, $u); $c->user = $u; $this->rooms[$u->room][$c->resourceId] = $c;`)},
	{name: "Ratchet, SplObjectStorage in rooms", code: ratchet(`public $rooms = [];`, ``,
		`$n = $c->resourceId % 100; $this->rooms[$n] ??= new SplObjectStorage; $this->rooms[$n]->attach($c, ['room' => $this->rooms[$n]]);`)},
	{name: "Swoole, array by fd", code: swoole(`$users = [];`, `global $users; $users[$f->fd] = ['fd' => $f->fd, 'name' => "user $f->fd"];`)},
	{name: "Swoole, objects by fd", code: swoole(`class User { public $fd, $room; } class Room { public $fds = []; } $users = []; $rooms = [];`,
		`global $users, $rooms; $u = $users[$f->fd] = new User; $u->fd = $f->fd; $u->room = $rooms[$f->fd % 100] ??= new Room; $u->room->fds[$f->fd] = $f->fd;`)},
	{name: "Swoole, Table", code: swoole(`$rows = new Swoole\Table(16384); $rows->column('fd', Swoole\Table::TYPE_INT); $rows->column('name', Swoole\Table::TYPE_STRING, 32); $rows->create();`,
		`global $rows; $rows->set("u$f->fd", ['fd' => $f->fd, 'name' => "user $f->fd"]);`)},

	{name: "edit: class gone", code: workerman(listOfUsers, userInList), became: strings.NewReplacer("class User ", "class Member ", "new User", "new Member")},
	{name: "edit: class gone of rooms", slow: true, code: workerman(roomsOfUsers, userInRoom), became: strings.NewReplacer("class User ", "class Member ", "new User", "new Member")},
	{name: "edit: class of rooms gone", code: workerman(roomsOfUsers, userInRoom), became: strings.NewReplacer("class Room ", "class Hall ", "new Room", "new Hall")},
	{name: "edit: class gone of a lobby", code: workerman(userAndLobby, userInLobby), became: strings.NewReplacer("class User ", "class Member ", "new User", "new Member")},
	{name: "edit: class gone of properties", code: workerman(clientsOfHub, clientOfHub), became: strings.NewReplacer("class User ", "class Member ", "new User", "new Member")},
	{name: "edit: property gone", code: workerman(listOfUsers, userInList), became: strings.NewReplacer(", $old = 1", "")},
	{name: "edit: property that must be set", code: workerman(listOfUsers, userInList), became: strings.NewReplacer("$old = 1;", "$old = 1; public int $must;")},
	{name: "edit: class gone of SplObjectStorage", code: workerman(`class User { public $c; } $all = new SplObjectStorage;`, `global $all; $u = new User; $u->c = $c; $all[$u] = ['n' => 1];`), became: strings.NewReplacer("class User ", "class Member ", "new User", "new Member")},
	{name: "edit: class gone of what is filed", code: workerman(`class User { public $c, $all; } $all = new SplObjectStorage;`, `global $all; $u = new User; $u->c = $c; $u->all = $all; $all[$c] = $u;`), became: strings.NewReplacer("class User ", "class Member ", "new User", "new Member")},
	{name: "edit: property of a lobby's users that must be set", slow: true, code: workerman(userAndLobby+`$lobby = null;`, "$GLOBALS['lobby'] ??= new Lobby; "+userInLobby), became: strings.NewReplacer("$room, $f;", "$room, $f; public int $must;")},
	{name: "edit: property of rooms' users that must be set", code: workerman(roomsOfUsers, userInRoom), became: strings.NewReplacer("$name = '';", "$name = ''; public int $must;")},
	{name: "edit: property of rooms with another type", code: workerman(roomsOfUsers, userInRoom), became: strings.NewReplacer("public $n, $users = []", "public int $n; public string $users = ''; public $x")},
	{name: "edit: property with another type", code: workerman(listOfUsers, userInList), became: strings.NewReplacer("public $c, $name = 'x'", "public $c; public int $name = 1; public $more")},
	{name: "edit: closure in each room", code: workerman(roomsOfUsers, userInRoom), became: strings.NewReplacer("$this->n = $n;", "$this->n = $n; $this->f = function () {};")},
	{name: "edit: count from 2 to 1", code: workerman(roomsOfUsers, userInRoom), from: 2},
	{name: "edit: count from 2 to 1, rooms with names", code: workerman(roomsOfUsers, strings.Replace(userInRoom, "$c->id % 200", "'room ' . $c->id % 200", 1)), from: 2},
	{name: "edit: count from 2 to 1, lobby", code: workerman(userAndLobby, userInLobby), from: 2},
	{name: "edit: count from 2 to 1, lobby of callbacks", code: workerman(userAndLobby+`$lobby = null;`, "$GLOBALS['lobby'] ??= new Lobby; "+userInLobby), from: 2},
	{name: "edit: count from 2 to 1, array", code: workerman(`$all = [];`, `$GLOBALS['all'][$c->id] = $c;`), from: 2},
	{name: "edit: count from 2 to 1, SplObjectStorage", code: workerman(`$all = new SplObjectStorage;`, `$GLOBALS['all'][$c] = ['n' => 1];`), from: 2},
}

// BenchmarkReload: how long a process writes what goes to its successor, and how long that
// takes to have it, by what the program keeps of its clients. Growth is from fewClients to
// manyClients: 4 is linear.
func BenchmarkReload(b *testing.B) {
	for _, x := range shapes {
		b.Run(x.name, func(b *testing.B) {
			var few, many reloaded
			for b.Loop() {
				few.best(reloadOf(b, x, fewClients))
				many.best(reloadOf(b, x, manyClients))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(many.carry.Microseconds())/1000, "carry-ms")
			b.ReportMetric(many.carry.Seconds()/few.carry.Seconds(), "carry-growth")
			b.ReportMetric(float64(many.kept), "kept")
			if many.kept > 0 {
				b.ReportMetric(float64(many.take.Microseconds())/1000, "take-ms")
				b.ReportMetric(many.take.Seconds()/few.take.Seconds(), "take-growth")
			}
		})
	}
}

// TestReloadInTime: a reload whose time goes by the square of the clients takes more than
// mostOfCarrying with so many.
func TestReloadInTime(t *testing.T) {
	for _, x := range shapes {
		if x.slow {
			t.Run(x.name, func(t *testing.T) { reloadOf(t, x, manyClients) })
		}
	}
}

type reloaded struct {
	carry, take time.Duration
	kept        int // clients that the successor was told of
}

// best leaves out what else the machine did.
func (r *reloaded) best(n reloaded) {
	if r.carry > 0 {
		n.carry, n.take = min(n.carry, r.carry), min(n.take, r.take)
	}
	*r = n
}

// reloadOf reloads a program with so many clients.
func reloadOf(b testing.TB, x shape, clients int) (r reloaded) {
	b.Helper()
	from := max(x.from, 1)
	code := x.code
	if x.became != nil {
		code = x.became.Replace(code)
	}
	next := serve(b, program(b, code), "start")
	defer next.cmd.Process.Kill()
	for p := range from {
		h := withClients(b, x.code, big+uint64(p*clients/from), clients/from)
		within(h)
		start := time.Now()
		_, carried := h.stop(script.Successor)
		r.carry += time.Since(start)
		conns, data, err := script.ParseCarry(carried)
		if err != nil {
			continue // nothing to carry
		}
		ids := make([]uint64, conns.Len())
		for i := range ids {
			ids[i] = conns.At(i)
		}
		r.kept += len(ids)
		next.write(script.AppendCarry(nil, script.Carried, ids, data))
		for _, id := range ids {
			next.open(script.Resume, id, "")
		}
	}
	within(next)
	start := time.Now()
	told := next.batched()
	go next.socket.Write(told) // PHP also says much: whoever reads nothing meanwhile is not read either
	next.answers()
	r.take = time.Since(start)
	return r
}

// batched takes a whole batch out that nobody has sent.
func (h *host) batched() []byte {
	h.t.Helper()
	h.batch++
	h.event(script.Frame{Op: script.Tick, Conn: h.batch})
	told := h.out
	h.out = nil
	return told
}

// within ends PHP's time for what follows.
func within(h *host) {
	h.t.Helper()
	must(h.t, h.socket.SetDeadline(time.Now().Add(mostOfCarrying)))
}

// withClients is a process that has heard each client once.
func withClients(b testing.TB, code string, first uint64, n int) *host {
	b.Helper()
	h := serve(b, program(b, code), "start")
	for i := range uint64(n) {
		h.open(script.Open, first+i, "")
	}
	h.done()
	for i := range uint64(n) {
		h.message(first+i, "x")
	}
	h.done()
	return h
}
