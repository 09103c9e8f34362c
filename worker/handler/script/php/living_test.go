package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestDestructors: what is carried lives on, so its destructor runs in no process that it leaves,
// nor in the one that it comes to, also where the new code cannot have something beside it; those
// of other objects run, and at a stop all do.
func TestDestructors(t *testing.T) {
	const code = `
enum Mood { case Glad; }
class Gone { public $mood; }
class Log { public $ring; public $name; function __construct($name) { $this->name = $name; } function __destruct() { echo "flushed $this->name\n"; } }
class Bag extends SplObjectStorage { function __destruct() { echo "bye bag\n"; } }
class Any { private $of; function __construct($of) { $this->of = $of; } function of() { return $this->of; } }
class User extends Any {
    public $room;
    function __construct($c, public readonly object $c2, public readonly string $name) { parent::__construct($c); }
    function __destruct() { $this->of()->send('bye'); echo "bye $this->name\n"; }
}
class Room { public $in = []; private $log; static $all; public $mood; function __construct() { $this->log = function () {}; } }
class Hall { public $in = []; function __destruct() { foreach ($this->in as $u) $u->of()->send('bye'); echo "bye hall\n"; } }
class Chat {
    static $log; public $users = []; public $more; public Hall $hall; public $bag; public $rest;
    function __construct() { $this->hall = new Hall; $this->bag = new Bag; }
    function message($c, $data) {
        if ($data === 'exit') exit;
        if ($data === 'put') {
            $u = $this->users[$c->id] = new User($c, $c, 'ann');
            $u->room = (object)['in' => [$u]];
            $this->hall->in[] = $u;
            $this->bag[$u] = 1;
            $this->rest['gone'] = new Gone;
            $this->rest['gone']->mood = Mood::Glad;
            $this->rest[$c->id] = $c;
        }
        $c->send($data === 'put' ? 'done' : 'has ' . count($this->users) . count($this->hall->in) . count($this->bag) . ($this->users[$c->id]->of() === $c ? 'same' : 'other') . ($this->hall->in[0] === $this->users[$c->id] ? 'same' : 'other'));
    }
    function __destruct() { echo "chat ends\n"; }
}
function main() {
    $log = new Log('local'); $ring = new Log('ring'); $ring->ring = $ring;
    Chat::$log = new Log('static'); $GLOBALS['log'] = ['a' => new Log('global')];
    $w = new Workerman\Worker('websocket://0.0.0.0:9501');
    $w->onMessage = [$GLOBALS['chat'] = new Chat, 'message'];
    Workerman\Worker::runAll();
}
main();`
	ends := func(t *testing.T, h *host, words ...string) {
		t.Helper()
		for _, word := range []string{"flushed local", "flushed static", "flushed global", "flushed ring", "chat ends", "bye"} {
			if strings.Contains(h.log.String(), word) != (word != "bye" || len(words) > 0) {
				t.Errorf("%q is there or not:\n%s", word, h.log)
			}
		}
	}
	merry := strings.ReplaceAll(code, "case Glad", "case Merry") // what was read before that was seen is read again
	if old, h, orders := movedFrom(t, code, merry); slices.Contains(orders, fmt.Sprintf("SEND %d bye", uint64(big))) || !slices.Contains(orders, fmt.Sprintf("SEND %d has 111samesame", uint64(big))) {
		t.Errorf("%q\n%s\n%s", orders, old.log, h.log)
	}
	old, h, orders := movedFrom(t, code, code)
	ends(t, old)
	if strings.Contains(h.log.String(), "bye") || !slices.Contains(orders, fmt.Sprintf("SEND %d has 111samesame", uint64(big))) || slices.Contains(orders, fmt.Sprintf("SEND %d bye", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
	orders, carried := h.stop(script.Successor)
	ends(t, h)
	if !slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) {
		t.Errorf("the client is closed at a second reload: %q\n%s", orders, h.log)
	}
	_, data, err := script.ParseCarry(carried)
	must(t, err)
	for _, how := range []string{"stop", "exit"} {
		h = serve(t, program(t, code), "start")
		h.write(script.AppendCarry(nil, script.Carried, []uint64{big}, data))
		h.open(script.Resume, big, "")
		h.message(big, "get")
		h.want(fmt.Sprintf("SEND %d has 111samesame", uint64(big)), fmt.Sprintf("HELD+1 %d", uint64(big)))
		if how == "stop" {
			h.stop(0)
			ends(t, h, "bye ann")
			continue
		}
		h.message(big, how)
		h.tick()
		for h.next() != "BYE 0" {
		}
		h.socket.Close()
		<-h.ended
		ends(t, h)
	}
}
