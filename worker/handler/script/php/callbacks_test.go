package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// ownCallback is a program that gives a client a callback of its own, "later" of what the
// code names, and says by whom the client is heard.
func ownCallback(set string) string {
	return `
class Chat {
    public $n = 0; private $log;
    function __construct() { $this->log = function () {}; }
    function first($c, $data) { $c->onMessage = ` + set + `; $this->n++; $c->send('done'); }
    function later($c, $data) { $c->send("later of $this->n, " . json_encode($this === $GLOBALS['chat'])); }
    private function hidden($c, $data) { $c->send('hidden'); }
    static function all($c, $data) { $c->send('all'); }
}
class Game { public $chat, $n = 7; function __construct($chat) { $this->chat = $chat; } function move($c, $data) { $c->send("move $this->n " . json_encode($this->chat === $GLOBALS['chat'])); } }
class Loner extends Chat {}
function named($c, $data) { $c->send('named'); }
$chat = new Chat;
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = [$chat, 'first'];
Workerman\Worker::runAll();`
}

// TestMethodsAsCallbacks: the method of an object that a connection has goes along with the
// object; the object of a callback of the Worker's is that of the new code.
func TestMethodsAsCallbacks(t *testing.T) {
	for set, says := range map[string]string{
		`[$this, 'later']`:             "later of 0, true",
		`$this->later(...)`:            "later of 0, true",
		`[new Game($this), 'move']`:    "move 7 true",
		`[new Loner, 'later']`:         "", // with a closure in it, which no reload keeps
		`function ($c, $data) {}`:      "",
		`fn ($c, $data) => 1`:          "",
		`$this->hidden(...)`:           "", // nobody else may call it
		`(new Game($this))->move(...)`: "move 7 true",
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			if says == "" {
				h := serve(t, program(t, ownCallback(set)), "start")
				h.open(script.Open, big, "")
				h.message(big, "put")
				bound := h.done()
				orders, _ := h.stop(script.Successor)
				if !slices.Contains(bound, fmt.Sprintf("HELD+1 %d", uint64(big))) || slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) {
					t.Errorf("the client stays: %q, %q\n%s", bound, orders, h.log)
				}
				return
			}
			h, orders := moved(t, ownCallback(set), ownCallback(set))
			if !slices.Contains(orders, fmt.Sprintf("SEND %d %s", uint64(big), says)) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
	h, orders := moved(t, ownCallback(`[$this, 'later']`), strings.ReplaceAll(ownCallback(`[$this, 'later']`), "later(", "latest("))
	if !slices.Contains(orders, fmt.Sprintf("END/1012 %d service restart", uint64(big))) {
		t.Errorf("%q\n%s", orders, h.log)
	}
}

// TestFunctionsAsCallbacks: what has a name is part of the session, so it outlives PHP.
func TestFunctionsAsCallbacks(t *testing.T) {
	for set, row := range map[string]struct{ session, says string }{
		`'named'`:         {`{"pushd.callbacks":{"onMessage":"named"}}`, "named"},
		`'Named'`:         {`{"pushd.callbacks":{"onMessage":"Named"}}`, "named"},
		`named(...)`:      {`{"pushd.callbacks":{"onMessage":"named"}}`, "named"},
		`'Chat::all'`:     {`{"pushd.callbacks":{"onMessage":"Chat::all"}}`, "all"},
		`['Chat', 'all']`: {`{"pushd.callbacks":{"onMessage":["Chat","all"]}}`, "all"},
		`Chat::all(...)`:  {`{"pushd.callbacks":{"onMessage":["Chat","all"]}}`, "all"},
		`self::all(...)`:  {`{"pushd.callbacks":{"onMessage":["Chat","all"]}}`, "all"},
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			h := serve(t, program(t, ownCallback(set)), "start")
			h.open(script.Open, 1, "")
			h.message(1, "put")
			h.want("SEND 1 done", "SESSION 1 "+row.session)
			next := serve(t, program(t, ownCallback(set)), "start")
			next.open(script.Resume, 1, row.session)
			next.message(1, "get")
			next.want("SEND 1 " + row.says)
			gone := serve(t, program(t, strings.NewReplacer("function named(", "function renamed(", "function all(", "function each(", set, "null").Replace(ownCallback(set))), "start")
			gone.open(script.Resume, 1, row.session)
			gone.want("END/1012 1 service restart")
			gone.says("which connections have as their onMessage: they are closed with 1012")
		})
	}
	t.Run("taken back", func(t *testing.T) {
		h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
function other($c, $data) { $c->onMessage = null; $c->send('last'); }
$w->onMessage = function ($c, $data) { $c->onMessage = 'other'; $c->send('done'); };
Workerman\Worker::runAll();`), "start")
		h.open(script.Open, 1, "")
		h.message(1, "put")
		h.want("SEND 1 done", `SESSION 1 {"pushd.callbacks":{"onMessage":"other"}}`)
		h.message(1, "take back")
		h.want("SEND 1 last", "SESSION 1")
	})
}
