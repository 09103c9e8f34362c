package php_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestJoined: where one process goes on for two, as with a smaller count, it knows all whom they
// knew, wherever that was; whom nobody can be found by his key any more is closed, and the log says so.
func TestJoined(t *testing.T) {
	const (
		chat  = `class Chat { public $users = [], $last = 0, $topic = 'none', $game, $log; static $all = []; function __construct() { $this->log = function () {}; } } `
		games = `class Game { public $players = [], $board = ''; } `
	)
	for _, x := range []struct{ name, start, put, get, want, says string }{
		{"map", `$GLOBALS['users'] = [];`, `$GLOBALS['users'][$name] = $c`, `\array_keys($GLOBALS['users'])`, `["a","b"]`, ""},
		{"numbers", `$GLOBALS['users'] = [];`, `$GLOBALS['users'][$c->id] = 1`, `\count($GLOBALS['users'])`, `2`, ""},
		{"list", `$GLOBALS['users'] = [];`, `$GLOBALS['users'][] = $c`, `\count($GLOBALS['users'])`, `2`, ""},
		{"list of arrays", `$GLOBALS['users'] = [];`, `$GLOBALS['users'][] = ['name' => $name, 'c' => $c]`, `\array_column($GLOBALS['users'], 'name')`, `["a","b"]`, ""},
		{"rooms", `$GLOBALS['rooms'] = ['hall' => []];`, `$GLOBALS['rooms']['hall'][$c->id] = $c`, `\count($GLOBALS['rooms']['hall'])`, `2`, ""},
		{"rooms by number", `$GLOBALS['rooms'] = [];`, `$GLOBALS['rooms'][5][$c->id] = $c`, `\count($GLOBALS['rooms'][5])`, `2`, ""},
		{"rooms of lists", `$GLOBALS['rooms'] = [];`, `$GLOBALS['rooms']['hall'][] = $c`, `\count($GLOBALS['rooms']['hall'])`, `2`, ""},
		{"storage", `$GLOBALS['users'] = new SplObjectStorage;`, `$GLOBALS['users'][$c] = $name`, `\count($GLOBALS['users'])`, `2`, ""},
		{"storage made by a callback", `$GLOBALS['users'] = null;`, `$GLOBALS['users'] = new SplObjectStorage; $GLOBALS['users'][$c] = $name`, `\count($GLOBALS['users'])`, `2`, ""},
		{"array object", `$GLOBALS['users'] = new ArrayObject;`, `$GLOBALS['users'][$name] = $c`, `\count($GLOBALS['users'])`, `2`, ""},
		{"queue", `$GLOBALS['users'] = new SplQueue;`, `$GLOBALS['users'][] = $c`, `\count($GLOBALS['users'])`, `2`, ""},
		{"weak map", `$GLOBALS['users'] = new WeakMap;`, `$GLOBALS['users'][$c] = $name`, `\count($GLOBALS['users'])`, `2`, ""},
		{"static property", chat, `Chat::$all[$name] = $c`, `\count(Chat::$all)`, `2`, ""},
		{"property of the Worker", ``, `$c->worker->uidConnections[$name] = $c`, `\array_keys($c->worker->uidConnections)`, `["a","b"]`, ""},
		{"captured", ``, `$held[$name] = $c`, `\array_keys($held)`, `["a","b"]`, ""},
		{"object", chat + `$GLOBALS['chat'] = new Chat;`, `$GLOBALS['chat']->users[] = $c; $GLOBALS['chat']->last = 200 - \ord($name); $GLOBALS['chat']->topic = $name`, `[\count($GLOBALS['chat']->users), $GLOBALS['chat']->last, $GLOBALS['chat']->topic]`, `[2,103,"a"]`, ""},
		{"object in two places", chat + `$GLOBALS['chat'] = $GLOBALS['same'] = new Chat; $GLOBALS['all'] = [$GLOBALS['chat']];`, `$GLOBALS['chat']->users[] = [$c]`, `[\count($GLOBALS['same']->users), $GLOBALS['all'][0] === $GLOBALS['chat']]`, `[2,true]`, ""},
		{"array with a counter", `$GLOBALS['chat'] = ['users' => [], 'last' => 0, 'log' => function () {}];`, `$GLOBALS['chat']['users'][$name] = $c; $GLOBALS['chat']['last'] = 200 - \ord($name)`, `[\count($GLOBALS['chat']['users']), $GLOBALS['chat']['last']]`, `[2,103]`, ""},
		{"objects of one room", games + `$GLOBALS['games'] = [];`, `$g = $GLOBALS['games']['x'] ?? ($GLOBALS['games']['x'] = new Game); $g->players[$c->id] = $c; $c->game = $g`, `[\count($GLOBALS['games']['x']->players), $c->game === $GLOBALS['games']['x']]`, `[2,true]`, ""},
		{"objects of the start", games + `$GLOBALS['rooms'] = [new Game, 'x' => new Game];`, `foreach ($GLOBALS['rooms'] as $r) $r->players[] = $c`, `[\count($GLOBALS['rooms']), \count($GLOBALS['rooms'][0]->players), \count($GLOBALS['rooms']['x']->players)]`, `[2,2,2]`, ""},
		{"objects of the start, and more", games + `$GLOBALS['rooms'] = [new Game];`, `$GLOBALS['rooms'][0]->players[] = $c; $GLOBALS['rooms'][] = new Game; $GLOBALS['rooms'][1]->players[] = $c`, `[\count($GLOBALS['rooms']), \count($GLOBALS['rooms'][0]->players), \count($GLOBALS['rooms'][1]->players)]`, `[3,2,1]`, ""},
		{"by number, one of the start, which callbacks have replaced", games + `$GLOBALS['rooms'] = [5 => new Game];`, `$g = $GLOBALS['rooms'][5] = new Game; $g->players[] = $c`, `\count($GLOBALS['rooms'][5]->players)`, `2`, ""},
		{"one of the start, which callbacks have replaced and changed", games + `$GLOBALS['rooms'] = ['x' => new Game];`, `$g = $GLOBALS['rooms']['x'] = new Game; $g->players[] = $c; $g->board = $name`, `[\count($GLOBALS['rooms']['x']->players), $GLOBALS['rooms']['x']->board]`, `[2,"a"]`, ""},
		{"property of a connection", chat, `$c->other = new Chat; $c->other->log = null; $c->other->topic = $name`, `$c->other->topic`, `"a"`, ""},
		{"only one has any", `$GLOBALS['users'] = [];`, `$name === 'b' && $GLOBALS['users'][$name] = $c`, `\array_keys($GLOBALS['users'])`, `["b"]`, ""},
		{"one key", `$GLOBALS['users'] = [];`, `$GLOBALS['users']['u1'] = $c`, ``, ``, "$users['u1']: those who were in it are closed with 1012"},
		{"one key, as numbers", `$GLOBALS['users'] = [];`, `$GLOBALS['users']['u1'] = ['fd' => $c->id]`, ``, ``, "$users['u1']['fd']: "},
		{"one place", `$GLOBALS['admin'] = null;`, `$GLOBALS['admin'] = $c`, ``, ``, "$admin: "},
		{"pairs of a list", `$GLOBALS['users'] = [];`, `$GLOBALS['users']['x'] = [$c, $name]`, ``, ``, "$users['x']: "},
		{"two games of one number", games + `$GLOBALS['games'] = [];`, `$g = $GLOBALS['games'][1] = new Game; $g->players[] = $c; $g->board = $name`, ``, ``, "$games['1']: "},
		{"two games of one number, both new", games + `$GLOBALS['games'] = [];`, `$g = $GLOBALS['games'][1] = new Game; $g->players[] = $c`, ``, ``, "$games['1']: "},
		{"two pairs of one number", `$GLOBALS['games'] = [];`, `$GLOBALS['games'][1] = [$c]`, ``, ``, "$games['1']: "},
		{"two games, as arrays", `$GLOBALS['games'] = [];`, `$GLOBALS['games'][1] = ['players' => [$c], 'board' => [$name]]`, ``, ``, "$games['1']: "},
		{"two games, in a property", chat + games + `$GLOBALS['chat'] = new Chat;`, `$g = $GLOBALS['chat']->game = new Game; $g->players[] = $c; $g->board = $name`, ``, ``, "$game: "},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			file := program(t, `
function main() {
    `+x.start+`
    $held = [];
    $w = new Workerman\Worker('websocket://0.0.0.0:9501');
    $w->uidConnections = [];
    $w->onMessage = function ($c, $name) use (&$held) {
        if ($name !== 'get') { `+x.put+`; $c->send('done'); } else { $c->send('has ' . json_encode(`+cmp.Or(x.get, "0")+`)); }
    };
    Workerman\Worker::runAll();
}
main();`)
			next, orders := joined(t, file, []string{"a"}, []string{"b"})
			for i := range uint64(2) {
				if closed := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", big+i)); closed != (x.says != "") {
					t.Errorf("connection %d is closed: %v\n%s", i, closed, next.log)
				}
			}
			if !strings.Contains(next.log.String(), x.says) {
				t.Errorf("the log lacks %q\n%s", x.says, next.log)
			}
			if x.says != "" {
				return
			}
			next.message(big, "get")
			if orders = next.done(); !slices.Contains(orders, fmt.Sprintf("SEND %d has %s", uint64(big), x.want)) {
				t.Errorf("%q, want %s\n%s", orders, x.want, next.log)
			}
		})
	}
}

// joined has one process go on for others, each with clients of which each has said a word.
func joined(t *testing.T, file string, words ...[]string) (next *host, orders []string) {
	t.Helper()
	next = serve(t, file, "start")
	id := uint64(big)
	for _, words := range words {
		h := serve(t, file, "start")
		var ids []uint64
		for _, word := range words {
			h.open(script.Open, id, "")
			h.message(id, word)
			ids = append(ids, id)
			id++
		}
		h.done()
		if _, carried := h.stop(script.Successor); carried != nil {
			_, data, err := script.ParseCarry(carried)
			must(t, err)
			next.write(script.AppendCarry(nil, script.Carried, ids, data))
		}
		for _, id := range ids {
			next.open(script.Resume, id, "")
		}
	}
	return next, next.done()
}

// TestJoinedSpares: a clash costs those who are in either, but not who is in an object that
// they know and that has its place.
func TestJoinedSpares(t *testing.T) {
	for name, x := range map[string][2]string{
		"one of the start":   {`$hall = new Room;`, `$data !== 'b'`},
		"one that both have": {`$hall = null;`, `true`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next, orders := joined(t, program(t, `
class Room { public $in = []; }
class Game { public $c, $board, $hall; }
$games = [];
`+x[0]+`
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) {
    global $games, $hall;
    if ($data === 'get') { $c->send('with ' . count($hall->in)); return; }
    if (`+x[1]+`) { $hall = $hall ?: new Room; $hall->in[$c->id] = $c; }
    if ($data === 'c') { return; }
    $g = $games['x'] = new Game;
    $g->c = $c; $g->board = $data; $g->hall = $data === 'b' ? null : $hall;
};
Workerman\Worker::runAll();`), []string{"a", "c"}, []string{"b"})
			for i, want := range []bool{true, false, true} {
				if closed := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", big+i)); closed != want {
					t.Errorf("connection %d is closed: %v\n%s", i, closed, next.log)
				}
			}
			next.message(big+1, "get")
			if orders := next.done(); !slices.ContainsFunc(orders, func(o string) bool { return strings.HasPrefix(o, fmt.Sprintf("SEND %d with ", uint64(big+1))) }) {
				t.Errorf("%q\n%s", orders, next.log)
			}
		})
	}
}
