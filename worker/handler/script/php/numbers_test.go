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

// TestIdentity: property_exists of a connection is right, and what a program files by spl_object_id or spl_object_hash of a connection it
// finds again in each callback, and after a reload, whether it holds the object or not.
func TestIdentity(t *testing.T) {
	const code = `
namespace Chat;
use Ratchet\ConnectionInterface;
class Hub implements \Ratchet\MessageComponentInterface {
    private $clients = [], $names = [], $hashes = [], $all;
    function __construct() { $this->all = new \SplObjectStorage; }
    private $own = 1;
    function onOpen(ConnectionInterface $conn) { KEEP; if (!property_exists($conn, 'user')) $conn->user = 'Ann'; $this->names[spl_object_id($conn)] = 'Ann'; $this->hashes[spl_object_hash($conn)] = 'Bob'; }
    function onMessage(ConnectionInterface $from, $text) {
        $o = new \stdClass;
        $own = spl_object_id($o) !== spl_object_id(new \stdClass) && spl_object_id($o) < 65536 && spl_object_hash($o) === sprintf('%016x%016x', spl_object_id($o), 0);
        $o->dynamic = null;
        $own = $own && property_exists($o, 'dynamic') && !property_exists($o, 'other') && property_exists($this, 'own') && property_exists(self::class, 'own') && !property_exists('None', 'own');
        $own = $own && property_exists($from, 'user') && property_exists($from, 'resourceId') && !property_exists($from, 'other');
        $from->send(($this->names[spl_object_id($from)] ?? '?') . ' ' . ($this->hashes[spl_object_hash($from)] ?? '?') . ' ' . count($this->clients + $this->names) . ($own ? ' own' : ''));
    }
    function onClose(ConnectionInterface $conn) { unset($this->clients[spl_object_id($conn)], $this->names[spl_object_id($conn)], $this->hashes[spl_object_hash($conn)]); }
    function onError(ConnectionInterface $conn, \Exception $e) {}
}
\Ratchet\Server\IoServer::factory(new \Ratchet\Http\HttpServer(new \Ratchet\WebSocket\WsServer(new Hub)), 9501)->run();`
	for name, keep := range map[string]string{"held": "$this->clients[spl_object_id($conn)] = $conn", "not held": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := program(t, strings.ReplaceAll(code, "KEEP", keep))
			h := serve(t, file, "start")
			says := func(id uint64, want string) {
				t.Helper()
				h.message(id, "who")
				if got := h.done(); !slices.Contains(got, fmt.Sprintf("SEND %d %s", id, want)) {
					t.Errorf("%q, want %s\n%s", got, want, h.log)
				}
			}
			h.open(script.Open, big, "")
			h.open(script.Open, big+1, "")
			h.done()
			says(big, "Ann Bob 2 own")
			_, carried := h.stop(script.Successor)
			ids, data, err := script.ParseCarry(carried)
			must(t, err)
			if ids.Len() != 2 {
				t.Fatalf("%d connections are carried\n%s", ids.Len(), h.log)
			}
			h = serve(t, file, "start")
			h.write(script.AppendCarry(nil, script.Carried, []uint64{big, big + 1}, data))
			h.open(script.Resume, big, "")
			h.open(script.Resume, big+1, "")
			h.open(script.Open, big+2, "")
			h.done()
			says(big, "Ann Bob 3 own")
			says(big+2, "Ann Bob 3 own")
			h.closed(big + 1)
			h.done()
			says(big+2, "Ann Bob 2 own")
		})
	}
}
