package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestCarryUnmade: an object that lacks what only the constructor of the new code's class sets is
// left out, wherever it is, and who is in it is closed; who comes later gets a new one.
func TestCarryUnmade(t *testing.T) {
	const (
		old   = `public $in = [];`
		log   = `public Log $log; public $in = [];`
		room  = "objects of Room in $all were not taken over, and those who were in them are closed with 1012: $log is new in the new code, and only a constructor sets it"
		inMap = `return $all['a'] ??= new Room;`
	)
	for _, x := range []struct{ name, start, find, old, new, says string }{
		{"in an array", `$all = [];`, inMap, old, log, room},
		{"promoted", `$all = [];`, inMap, `function __construct(`, `function __construct(private ?Log $more = null`, "$more is new in the new code"},
		{"of a parent class", `$all = [];`, inMap, `abstract class Any {`, `abstract class Any { private int $n;`, "$n is new in the new code"},
		{"in arrays in an object", `class Hub { public $halls = ['one' => []]; } $all = new Hub;`, `return $all->halls['one']['a'] ??= new Room;`, old, log, room},
		{"in a queue", `$all = new SplQueue;`, `count($all) || $all[] = new Room; return $all[0];`, old, log, room},
		{"in a storage", `$all = new SplObjectStorage;`, `foreach ($all as $r) return $r; $all[$r = new Room] = 1; return $r;`, old, log, room},
		{"in a property that may not be empty", `class Hub { public Room $one; } $all = new Hub;`, `return $all->one ??= new Room;`, old, log, room},
		{"alone", `$all = null;`, `return $all ??= new Room;`, old, log, room},
		{"of a connection", ``, `return $c->room ??= new Room;`, old, log, "objects of Room in $room"},
		{"by a connection", `$all = new WeakMap;`, `return $all[$c] ??= new Room;`, old, log, room},
		{"made at the start", `$all = new Room;`, `return $all;`, old, log, ""},
		{"with a default", `$all = [];`, inMap, old, `public ?Log $more = null;` + old, ""},
		{"nothing new", `$all = [];`, inMap, "", "", ""},
		{"without a type", `$all = [];`, inMap, old, `public $log = null; ` + old, "$log of Room is new in the new code, and null in those that were carried"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			code := `
class Log { function write() { return 'writes'; } }
abstract class Any { public Log $late; }
class Room extends Any {
    public $in = [];
    function __construct() { property_exists($this, 'log') && $this->log = new Log; }
    function says() { return isset($this->log) ? $this->log->write() : 'is'; }
}
` + x.start + `
function find($c) { global $all; ` + x.find + ` }
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) { $r = find($c); $r->in[$c->id] = $c; $c->send($data === 'put' ? 'done' : $r->says()); };
Workerman\Worker::runAll();`
			before, h, orders := movedFrom(t, code, strings.Replace(code, x.old, x.new, 1))
			closed := x.says != "" && !strings.HasSuffix(x.says, "carried")
			if ends := slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))); ends != closed || !strings.Contains(h.log.String(), x.says) {
				t.Errorf("closed: %v\n%s\n%s", ends, before.log, h.log)
			}
			if x.new != log {
				return
			}
			h.open(script.Open, big+1, "")
			h.message(big+1, "get")
			if orders := h.done(); !slices.Contains(orders, fmt.Sprintf("SEND %d writes", uint64(big+1))) {
				t.Errorf("one who comes later: %q\n%s", orders, h.log)
			}
		})
	}
}
