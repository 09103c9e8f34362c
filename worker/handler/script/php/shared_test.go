package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestShared: what Tables and Atomics of Swoole have is there in the process that
// comes next, also where only closures know them; what that wrote as it started stays.
func TestShared(t *testing.T) {
	const code = `
function table($rows) {
    $t = new Swoole\Table($rows);
    $t->column('name', Swoole\Table::TYPE_STRING, 8);
    $t->column('fd', Swoole\Table::TYPE_INT);
    $t->create();
    return $t;
}
class Chat {
    public $server, $users, $counts, $room;
    function __construct($rooms) {
        $this->room = function () use ($rooms) { return $rooms->get('hall', 'name'); };
        [$this->users, $this->counts] = [table(1024), table(2)];
        $this->users->set('nobody', ['name' => 'at first']);
        $this->server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
        $this->server->on('workerstart', function () { $this->counts->set('starts', ['fd' => ($this->counts->get('starts', 'fd') ?: 0) + 1, 'name' => 'fresh']); });
        $this->server->on('message', [$this, 'message']);
    }
    function message($server, $f) {
        global $number, $rooms;
        if ($f->data !== 'say') {
            $this->users->set('ann', ['name' => $f->data, 'fd' => $f->fd]);
            $rooms->set('hall', ['fd' => $f->fd, 'name' => $f->data]);
            $this->users->del('nobody');
            $this->counts->set('more', ['fd' => 7]);
            $this->counts->set('starts', ['fd' => 9]);
            $number->add(2);
        }
        $server->push($f->fd, json_encode([$this->users->get('ann'), count($this->users), $this->counts->get('starts'), $this->counts->get('more', 'fd'), $number->get(), ($this->room)()]));
    }
}
$number = new Swoole\Atomic(5);
$rooms = table(8);
(new Chat($rooms))->server->start();`
	file := program(t, code)
	h := serve(t, file, "start")
	h.open(script.Open, big, "")
	h.message(big, "Ann")
	h.want(`SEND 1099511627776 [{"name":"Ann","fd":1099511627776},1,{"name":"fresh","fd":9},7,7,"Ann"]`)
	_, carried := h.stop(script.Successor)
	_, data, err := script.ParseCarry(carried)
	must(t, err)
	h = serve(t, file, "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{big}, data))
	h.open(script.Resume, big, "")
	h.message(big, "say")
	h.want(`SEND 1099511627776 [{"name":"Ann","fd":1099511627776},1,{"name":"fresh","fd":1},7,7,"Ann"]`)
	h.message(big, "Eve")
	h.done()
	// Another process of the group ends: what is here is newer.
	h.write(script.AppendCarry(nil, script.Carried, []uint64{big}, data))
	h.message(big, "say")
	h.want(`SEND 1099511627776 [{"name":"Eve","fd":1099511627776},1,{"name":"fresh","fd":9},7,9,"Eve"]`)
}

// TestSharedJoined: a process that goes on for two has the rows of both, and the larger number.
func TestSharedJoined(t *testing.T) {
	file := program(t, `
$rows = new Swoole\Table(8);
$rows->column('fd', Swoole\Table::TYPE_INT);
$rows->create();
$number = new Swoole\Atomic(5);
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) {
    global $rows, $number;
    if ($f->data !== 'get') { $rows->set($f->data, ['fd' => $f->fd]); $number->add(strlen($f->data)); }
    $server->push($f->fd, json_encode([array_keys(iterator_to_array($rows)), $number->get()]));
});
$server->start();`)
	next := serve(t, file, "start")
	for i, name := range []string{"ann", "bo"} {
		id := big + uint64(i)
		h := serve(t, file, "start")
		h.open(script.Open, id, "")
		h.message(id, name)
		h.done()
		_, carried := h.stop(script.Successor)
		_, data, err := script.ParseCarry(carried)
		must(t, err)
		next.write(script.AppendCarry(nil, script.Carried, []uint64{id}, data))
		next.open(script.Resume, id, "")
	}
	next.done()
	next.message(big, "get")
	next.want(fmt.Sprintf(`SEND %d [["ann","bo"],8]`, uint64(big)))
}

// TestSharedNames: a reload finds Tables and Atomics by the names that the program has for
// them, wherever new code makes them; with other columns they keep their rows. What is not
// certain begins anew, the log says so, and who was in it by number comes back.
func TestSharedNames(t *testing.T) {
	const (
		both  = `$users = t(); $rooms = t(); $hits = new Swoole\Atomic(0); $errors = new Swoole\Atomic(3);`
		fill  = `$GLOBALS['users']->set('u', ['name' => 'ann', 'n' => 7, 'fd' => $f->fd]); $GLOBALS['rooms']->set('r', ['name' => 'hall', 'n' => 1]); $GLOBALS['hits']->add();`
		two   = `[names($GLOBALS['users']), names($GLOBALS['rooms']), $GLOBALS['hits']->get(), $GLOBALS['errors']->get()]`
		props = `$server->users->set('u', ['name' => 'ann']); $server->rooms->set('r', ['name' => 'hall']);`
		users = `$users = t();`
		ann   = `$users->set('ann', ['name' => 'ann', 'n' => 7, 'fd' => $f->fd]);`
		row   = `$users->get('ann')`
	)
	for _, x := range []struct {
		name, before, after, put, get, want, log string
		back                                     bool
	}{
		{"some put above", both, `$bans = t(); $n = new Swoole\Atomic(0); ` + both, fill, `[names($GLOBALS['bans'] ?? []), $GLOBALS['n'] ?? 0 ? $GLOBALS['n']->get() : 0, ` + two + `]`, `["",0,["ann","hall",1,3]]`, ``, false},
		{"in another order", both, `$rooms = t(); $errors = new Swoole\Atomic(3); $hits = new Swoole\Atomic(0); $users = t();`, fill, two, `["ann","hall",1,3]`, ``, false},
		{"one taken away", both, `$rooms = t(); $errors = new Swoole\Atomic(3);`, fill, `[names($GLOBALS['rooms']), $GLOBALS['errors']->get()]`, `["hall",3]`, `not taken over: the number $hits (1): the new code has none`, true},
		{"one renamed", both, strings.Replace(both, "$users", "$people", 1), fill, `[names($GLOBALS['people'] ?? []), names($GLOBALS['rooms'])]`, `["ann","hall"]`, `of the table $users: it is the table $people now`, false},
		{"both renamed", both, strings.NewReplacer("$users", "$people", "$rooms", "$halls", "$hits", "$n").Replace(both), fill, `[names($GLOBALS['people'] ?? []), names($GLOBALS['halls'] ?? []), ($GLOBALS['n'] ?? $GLOBALS['hits'])->get()]`, `["","",0]`, `not taken over: the table $rooms (1 row), the number $hits (1): the new code has none`, true},
		{"one by two names is two now", `$server->users = $server->people = t();`, `$server->users = t(); $server->people = t();`, `$server->people->set('u', ['name' => 'ann', 'fd' => $f->fd]);`, `[names($server->people), names($server->users)]`, `["",""]`, `the table server->users (1 row): `, true},
		{"a property and a variable are two now", `$a = t(); $server->users = $a;`, `$server->users = t(); $a = t();`, `$server->users->set('u', ['name' => 'ann']);`, `[names($server->users), names($GLOBALS['a'])]`, `["ann",""]`, ``, false},
		{"properties, one variable for all", `$t = t(); $server->users = $t; $t = t(); $server->rooms = $t;`, `$t = t(); $server->users = $t; $t = t(); $server->rooms = $t; $t = t(); $server->bans = $t;`, props, `[names($server->users), names($server->rooms), names($server->bans ?? [])]`, `["ann","hall",""]`, ``, false},
		{"a property and another variable", `$a = t(); $server->users = $a; $server->rooms = t();`, `$bans = t(); $b = t(); $server->rooms = t(); $server->users = $b;`, props, `[names($server->users), names($server->rooms)]`, `["ann","hall"]`, ``, false},
		{"objects, statics and elements", `class Hub { private $users; static $rooms; function __construct() { $this->users = t(); } function users() { return $this->users; } } $hub = ['a' => new Hub, 'b' => new Hub]; Hub::$rooms = ['x' => t()];`,
			`class Hub { private $users; static $rooms; function __construct() { $this->users = t(); } function users() { return $this->users; } } Hub::$rooms = ['y' => t(), 'x' => t()]; $hub = ['c' => new Hub, 'b' => new Hub, 'a' => new Hub];`,
			`foreach (['a', 'b'] as $k) $GLOBALS['hub'][$k]->users()->set('u', ['name' => $k]); Hub::$rooms['x']->set('r', ['name' => 'x']);`,
			`[names($GLOBALS['hub']['a']->users()), names($GLOBALS['hub']['b']->users()), names(Hub::$rooms['x']), names(Hub::$rooms['y'] ?? [])]`, `["a","b","x",""]`, ``, false},
		{"objects of one class on ports", `$on = [1, 2]; PORTS`, `$on = [3, 2, 1]; PORTS`, `foreach ([1, 2] as $p) at($server, $p)->set('u', ['name' => "n$p"]);`, `[names(at($server, 1)), names(at($server, 2))]`, `["n1","n2"]`, ``, false},
		{"captured by callbacks", `function main($server) { $users = t(); $rooms = t(); $hub = (object)['log' => function () use ($rooms) { return $rooms; }]; $server->on('open', function () use ($users) {}); MESSAGE }`,
			`function main($server) { $bans = t(); $rooms = t(); $users = t(); $hub = (object)['log' => function () use ($rooms) { return $rooms; }]; $server->on('close', function () use ($users, $bans) {}); MESSAGE }`,
			`$users->set('u', ['name' => 'ann']); ($hub->log)()->set('r', ['name' => 'hall']);`, `[names($users), names(($hub->log)())]`, `["ann","hall"]`, ``, false},
		{"captured by one name", `foreach (['open', 'close'] as $e) { $server->on($e, (function () { $t = t(); return function ($put = false) use ($t) { $put && $put instanceof Swoole\Atomic && $t->set('u', ['name' => 'x' . $put->get()]); return $t; }; })()); }`,
			`foreach (['close', 'open'] as $e) { $server->on($e, (function () { $t = t(); return function ($put = false) use ($t) { return $t; }; })()); }`,
			`foreach (['open', 'close'] as $i => $e) $server->getCallback($e)(new Swoole\Atomic($i));`, `[names($server->getCallback('open')()), names($server->getCallback('close')())]`, `["x0","x1"]`, ``, false},
		{"a column more", users, `$users = t(['name' => [3, 8], 'x' => [3, 8], 'n' => [1, 0], 'fd' => [1, 0], 'f' => [2, 0]]);`, ann, row, `{"name":"ann","x":"","n":7,"fd":1099511627776,"f":0}`, ``, false},
		{"a column less", users, `$users = t(['name' => [3, 8], 'fd' => [1, 0]]);`, ann, row, `{"name":"ann","fd":1099511627776}`, `of the table $users: n is gone`, false},
		{"a column of numbers less", users, `$users = t(['name' => [3, 8]]);`, ann, row, `{"name":"ann"}`, `of the table $users: n is gone, fd is gone`, true},
		{"numbers in the keys, too", users, `$users = t(['name' => [3, 8]]);`, `$users->set($f->fd, ['name' => 'ann', 'fd' => $f->fd]);`, `$users->get($f->fd)`, `{"name":"ann"}`, `of the table $users: n is gone, fd is gone`, false},
		{"wider", users, `$users = t(['name' => [3, 80], 'n' => [1, 0], 'fd' => [1, 0]]);`, ann, row, `{"name":"ann","n":7,"fd":1099511627776}`, ``, false},
		{"narrower", users, `$users = t(['name' => [3, 2], 'n' => [1, 0], 'fd' => [1, 0]]);`, ann, row, `{"name":"an","n":7,"fd":1099511627776}`, `of the table $users: name is cut in 1 row`, false},
		{"of another type", users, `$users = t(['name' => [1, 0], 'n' => [3, 8], 'fd' => [3, 20]]);`, ann, row, `{"name":0,"n":"7","fd":"1099511627776"}`, `of the table $users: name begins at zero in 1 row`, false},
		{"of another type, nothing lost", users, `$users = t(['name' => [2, 0], 'n' => [2, 0], 'fd' => [1, 0]]);`, `$users->set('ann', ['name' => '1.5']); $users->set('fd', ['fd' => $f->fd]);`, row, `{"name":1.5,"n":0,"fd":0}`, ``, false},
		{"other columns", users, `$users = t(['x' => [1, 0]]);`, ann, `names($users)`, `""`, `the table $users (1 row): the new code has none`, true},
		{"fewer rows", users, `$users = t(COLUMNS, 1);`, `$users->set('eve', ['name' => 'eve']); ` + ann, `names($users)`, `"eve"`, `of the table $users: 1 row beyond its size of 1`, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := func(setup string) string {
				const message = `$server->on('message', function ($server, $f) CAPTURES { if ($f->data === 'put') { PUT $server->push($f->fd, 'done'); } else { $server->push($f->fd, 'has ' . json_encode(GET)); } });`
				captures := ""
				if strings.Contains(x.put, "$users") && !strings.Contains(x.put, "'users'") {
					captures = "use ($users)"
				}
				if strings.Contains(setup, "MESSAGE") {
					setup, captures = strings.Replace(setup, "MESSAGE", message, 1)+" main($server);", "use ($users, $hub)"
				} else {
					setup += message
				}
				const ports = `class R { public $t; function __construct() { $this->t = t(); } function receive() {} }
function at($server, $port) { foreach ($server->ports as $p) if ($p->port === $port) return $p->getCallback('receive')[0]->t; }
foreach ($on as $port) $server->listen('127.0.0.1', $port, SWOOLE_SOCK_TCP)->on('receive', [new R, 'receive']);`
				return strings.NewReplacer("PORTS", ports, "CAPTURES", captures, "PUT", x.put, "GET", x.get, "COLUMNS", `['name' => [3, 8], 'n' => [1, 0], 'fd' => [1, 0]]`).Replace(`
function t($columns = COLUMNS, $size = 8) { $t = new Swoole\Table($size); foreach ($columns as $name => [$type, $most]) $t->column($name, $type, $most); $t->create(); return $t; }
function names($rows) { $names = []; foreach ($rows as $row) $names[] = $row['name'] ?? '?'; return implode(' ', $names); }
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
` + setup + `
$server->start();`)
			}
			h, orders := moved(t, code(x.before), code(x.after))
			asks := uint64(big)
			if x.back { // nobody hears him
				asks++
				h.open(script.Open, asks, "")
				h.message(asks, "get")
				orders = append(orders, h.done()...)
			}
			if want := fmt.Sprintf("SEND %d has %s", asks, x.want); !slices.Contains(orders, want) {
				t.Errorf("%q, want %s\n%s", orders, want, h.log)
			}
			if back := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))); back != x.back {
				t.Errorf("comes back: %v, want %v", back, x.back)
			}
			if x.log != "" {
				h.says(x.log)
			} else if log := h.log.String(); log != "" {
				t.Errorf("the log has %q", log)
			}
		})
	}
}

// TestSharedTooLarge: a Table that is too large to be carried is named, and who is in it by
// number comes back; the others go along.
func TestSharedTooLarge(t *testing.T) {
	h := serve(t, program(t, `
function table() { $t = new Swoole\Table(8); $t->column('text', Swoole\Table::TYPE_STRING, 1 << 26); $t->column('fd', Swoole\Table::TYPE_INT); $t->create(); return $t; }
$small = table();
$large = table();
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->on('message', function ($server, $f) use ($small, $large) { ($f->data === 'small' ? $small : $large)->set('ann', ['text' => str_repeat('x', $f->data === 'small' ? 1 : 33 << 20), 'fd' => $f->fd]); });
$server->start();`), "start")
	for i, word := range []string{"small", "large"} {
		h.open(script.Open, big+uint64(i), "")
		h.message(big+uint64(i), word)
		h.done()
	}
	h.numbersSeen()
	orders, carried := h.stop(script.Successor)
	if carried == nil || !slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) || slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big+1))) {
		t.Errorf("orders at the end %q", orders)
	}
	h.says("not carried over: the table $large")
}
