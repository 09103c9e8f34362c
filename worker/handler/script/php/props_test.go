package php_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestProps: objects and connections that a program sets on a connection are there after
// a reload, with all that they know; when PHP is killed pushd closes who has one.
func TestProps(t *testing.T) {
	ratchet := func(put, get string) string {
		return `
class User { public $name = 'none'; private $game; function __construct($g = null) { $this->game = $g; } function game() { return $this->game; } }
class Game implements Ratchet\MessageComponentInterface {
    public $all = []; private $moves;
    function __construct() { $this->moves = function () {}; }
    function onOpen(Ratchet\ConnectionInterface $c) { $c->n = 7; }
    function onMessage(Ratchet\ConnectionInterface $c, $data) { $data === 'put' ? $this->put($c) : $c->send('says ' . json_encode($this->get($c))); }
    function put($c) { ` + put + `; $c->send('done'); }
    function get($c) { return [$c->n, ` + get + `]; }
    function onClose(Ratchet\ConnectionInterface $c) {}
    function onError(Ratchet\ConnectionInterface $c, Exception $e) { echo $e->getMessage(); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Game)), 9501)->run();`
	}
	workerman := func(put, get string) string {
		return `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->onMessage = function ($c, $data) { if ($data === 'put') { ` + put + `; $c->send('done'); } else { $c->send('says ' . json_encode([7, ` + get + `])); } };
Workerman\Worker::runAll();`
	}
	for name, code := range map[string]string{
		"object":          ratchet(`$c->user = new User; $c->user->name = 'ann'`, `$c->user->name === 'ann'`),
		"token":           ratchet(`$c->token = json_decode('{"user":{"id":5}}')`, `$c->token->user->id === 5`),
		"in an array":     ratchet(`$c->users = ['a' => new User]`, `$c->users['a']->name === 'none'`),
		"itself":          ratchet(`$c->partner = $c`, `$c->partner === $c`),
		"shared":          ratchet(`$c->user = $this->all[$c->resourceId] = new User`, `$c->user === $this->all[$c->resourceId]`),
		"knows the game":  ratchet(`$c->user = new User($this)`, `$c->user->game() === $this`),
		"plain, knows it": ratchet(`$c->user = (object)['game' => $this]`, `$c->user->game === $this`),
		"context":         workerman(`$c->context->user = 'ann'`, `$c->context->user === 'ann'`),
		"protocol": `
class Buffer {
    private $c, $n = 7;
    function __construct($c) { $this->c = $c; $c->protocol = $this; }
    static function input($b, $c) {
        $c->consumeRecvBuffer(strlen($b));
        $c->protocol->c->send($b === 'put' ? 'done' : [$c->protocol->n, $c->protocol->c === $c]);
        return 0;
    }
    static function encode($data, $c) { return is_array($data) ? 'says ' . json_encode($data) : $data; }
}
$w = new Workerman\Worker('tcp://0.0.0.0:9501');
$w->onConnect = function ($c) { new Buffer($c); };
Workerman\Worker::runAll();`,
		"of Workerman": workerman(`$c->user = (object)['name' => 'ann']; $c->n = 1`, `$c->user->name === 'ann' && $c->n === 1`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, orders := moved(t, code, code)
			held, says := fmt.Sprintf("HELD+1 %d", uint64(big)), fmt.Sprintf("SEND %d says [7,true]", uint64(big))
			if !slices.Contains(orders, held) || !slices.Contains(orders, says) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
	t.Run("closure", func(t *testing.T) {
		h := serve(t, program(t, ratchet(`$c->then = function () { return 1; }`, `($c->then)()`)), "start")
		h.open(script.Open, big, "")
		h.message(big, "put")
		if orders := h.done(); !slices.Contains(orders, fmt.Sprintf("HELD+1 %d", uint64(big))) {
			t.Errorf("%q", orders)
		}
		if orders, _ := h.stop(script.Successor); slices.Contains(orders, fmt.Sprintf("HELD %d", uint64(big))) {
			t.Errorf("the client stays without what it had: %q", orders)
		}
		h.says("$then cannot be carried over")
	})
	t.Run("protocol with a closure", func(t *testing.T) {
		h := serve(t, program(t, `
class Lines { public $log; static function input($b, $c) { return strlen($b); } static function decode($b, $c) { return $b; } static function encode($b, $c) { return $b; } }
$w = new Workerman\Worker('tcp://0.0.0.0:9501');
$w->onMessage = function ($c) { $c->protocol = new Lines; $c->protocol->log = function () {}; $c->send('done'); };
Workerman\Worker::runAll();`), "start")
		h.open(script.Open, big, "")
		h.message(big, "put")
		h.done()
		h.stop(script.Successor)
		h.says("the protocol that a connection was given cannot be carried over")
	})
	t.Run("plain again", func(t *testing.T) {
		h := serve(t, program(t, ratchet(`$c->user = isset($c->user) ? 'ann' : new User`, `$c->user`)), "start")
		h.open(script.Open, big, "")
		for _, held := range []string{"HELD+1", "HELD"} {
			h.message(big, "put")
			if orders := h.done(); !slices.Contains(orders, fmt.Sprintf("%s %d", held, uint64(big))) {
				t.Errorf("%q, want %s", orders, held)
			}
		}
	})
}
