package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const ownSettings = `
use Workerman\Worker;
class Chat {
    function hello($c) { $this->guard($c); }
    function guard($c) { $c->onWebSocketConnect = function ($c) { $c->headers = ['X-Hi: 1']; }; }
}
$w = new Worker('websocket://0.0.0.0:2346');
$w->onConnect = [new Chat, 'hello'];
$w->onWebSocketClose = function ($c) { Pushd\publish('x', 'goodbye'); };
$w->onMessage = function ($c, $data) {
    switch ($data) {
        case 'set': $c->maxSendBufferSize = 5000; $c->maxPackageSize = 20; break;
        case 'get': $c->send("$c->maxSendBufferSize $c->maxPackageSize"); break;
        case 'own': $c->onError = function () {}; break;
        case 'timer': Workerman\Timer::add(0.001, function () use ($c) { $c->send('once'); }, [], false); break;
        case 'context': $c->send(json_encode(isset($c->context->user))); break;
        default: $c->send('got ' . strlen($data));
    }
};
Worker::runAll();`

// TestOwnRun: a class that extends Worker sets its callbacks in run(), as many do; one with a
// process model of its own is refused by name.
func TestOwnRun(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
class ChatWorker extends Worker {
    public function run() { $this->onMessage = [$this, 'say']; $this->onWorkerStart = function () { echo "started\n"; }; parent::run(); }
    public function say($c, $data) { $c->send("said $data"); }
}
$w = new ChatWorker('websocket://0.0.0.0:2346');
$w->reloadable = false;
$w->onWorkerReload = function () { echo "told of the reload\n"; };
Worker::runAll();`), "start")
	h.says("started")
	if !slices.Contains(h.welcome.Wants, script.WantReload) {
		t.Errorf("what is not reloadable wants %q", h.welcome.Wants)
	}
	h.event(script.Frame{Op: script.Reload})
	h.open(script.Open, 1, "")
	h.message(1, "hi")
	h.want("SEND 1 said hi")
	h.says("told of the reload")
	p, _ := plan(t, program(t, `
namespace GatewayWorker { class Gateway extends \Workerman\Worker {} }
namespace { $g = new GatewayWorker\Gateway('websocket://0.0.0.0:2346'); Workerman\Worker::runAll(); }`))
	if got := fmt.Sprint(p["groups"]); !strings.Contains(got, `GatewayWorker\Gateway is not supported by pushd`) {
		t.Error(got)
	}
}

// TestOwnSettings: what a program sets on one connection holds, outlives the process where it
// is a number, and otherwise makes the connection one of this process; what has ended does not.
func TestOwnSettings(t *testing.T) {
	file := program(t, ownSettings)
	h := serve(t, file, "start")
	if !slices.Contains(h.welcome.Wants, script.WantHandshake) {
		t.Errorf("a helper sets onWebSocketConnect, and handshakes are not asked for: %q", h.welcome.Wants)
	}
	h.openAt(script.Handshake, 1, "", "websocket://0.0.0.0:2346", "/", head)
	h.want("ACCEPT/101 1 X-Hi: 1")
	h.open(script.Open, 1, "")
	h.message(1, "context")
	h.want("SEND 1 false")
	h.message(1, "set")
	h.want(`SESSION 1 {"maxSendBufferSize":5000,"maxPackageSize":20}`)
	h.message(1, "timer")
	orders := h.done()
	for !slices.Contains(orders, "HELD 1") { // when the timer has run, and its closure is gone
		orders = append(orders, h.next())
	}
	if !slices.Equal(orders, []string{"HELD+1 1", "SEND 1 once", "HELD 1"}) {
		t.Errorf("%q", orders)
	}
	h.closed(1)
	h.want("PUBLISH 0 x goodbye")
	h = serve(t, file, "start")
	for id := uint64(1); id <= 2; id++ {
		h.open(script.Resume, id, `{"maxSendBufferSize":5000,"maxPackageSize":20}`)
	}
	h.message(1, "get")
	h.message(1, "own")
	h.message(1, "less than 20 bytes")
	h.message(2, "more than 20 bytes, one")
	h.want("SEND 1 5000 20", "SEND 1 got 18", "END/1009 2 message too long", "HELD+1 1")
	h.event(script.Frame{Op: script.Close, Conn: 1, Aux: 1006})
	h.want()
}
