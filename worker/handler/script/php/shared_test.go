package php_test

import (
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
