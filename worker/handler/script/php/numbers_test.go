package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestNumbers: pushd knows whom the program knows by number, wherever it has written
// one, so that these are told when PHP is killed. A reload carries them.
func TestNumbers(t *testing.T) {
	const code = `
class Player { public $fd; public $friend; function __construct($fd) { $this->fd = $fd; } }
class Rooms { static array $rooms; }
$users = [];
$table = new Swoole\Table(64);
$table->column('fd', Swoole\Table::TYPE_INT);
$table->create();
$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$server->players = new SplObjectStorage();
$server->on('message', function ($server, $frame) {
    global $users, $table;
    switch ($frame->data) {
        case 'key': $users[$frame->fd] = 'Ann'; break;
        case 'value': Rooms::$rooms = ['hall' => [$frame->fd]]; break;
        case 'row': $table->set('ann', ['fd' => $frame->fd]); break;
        case 'object': $p = new Player($frame->fd); $p->friend = $p; $server->players->attach($p); break;
        case 'leave': $users = []; break;
        case 'closure': $GLOBALS['f'] = function () use ($frame) { return $frame->fd; }; break;
    }
});
$server->start();`
	file := program(t, code)
	h := serve(t, file, "start")
	for i, word := range []string{"key", "value", "row", "object", "nothing", "closure"} {
		h.open(script.Open, big+uint64(i), "")
		h.message(big+uint64(i), word)
		h.done()
	}
	held := func(on string, numbers ...uint64) (list []string) {
		for _, n := range numbers {
			list = append(list, fmt.Sprintf("HELD%s %d", on, big+n))
		}
		return list
	}
	if got, want := h.numbersSeen(), held("+1", 0, 1, 2, 3); !slices.Equal(got, want) {
		t.Fatalf("found %q, want %q\n%s", got, want, h.log)
	}
	if got := h.numbersSeen(); len(got) != 0 {
		t.Fatalf("once more: %q", got)
	}
	h.message(big, "leave")
	h.message(big+4, "key")
	h.closed(big + 1)
	h.done()
	if got, want := h.numbersSeen(), append(held("", 0), held("+1", 4)...); !slices.Equal(got, want) {
		t.Fatalf("found %q, want %q", got, want)
	}
	h.message(big, "key")
	h.done()
	orders, carried := h.stop(script.Successor)
	orders = slices.DeleteFunc(orders, func(o string) bool { return strings.HasPrefix(o, "DONE ") })
	slices.Sort(orders)
	if want := append(held("", 0, 2, 3, 4), held("+1", 0)...); !slices.Equal(orders, want) {
		t.Fatalf("orders at the end %q, want %q\n%s", orders, want, h.log)
	}
	ids, data, err := script.ParseCarry(carried)
	must(t, err)
	if ids.Len() != 4 {
		t.Errorf("%d connections are carried", ids.Len())
	}
	h = serve(t, file, "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{big, big + 2, big + 3, big + 4}, data))
	for _, i := range []uint64{0, 2, 3, 4} {
		h.open(script.Resume, big+i, "")
	}
	h.done()
	if got, want := h.numbersSeen(), held("+1", 0, 2, 3, 4); !slices.Equal(got, want) {
		t.Fatalf("the next process has found %q, want %q", got, want)
	}
}
