package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestEnds: a program that closes a connection is told of it at once, and once: "one
// login per user" keeps the new one, also where the client does not answer the goodbye.
func TestEnds(t *testing.T) {
	workerman := func(onClose string) string {
		return `
$w = new Workerman\Worker('websocket://0.0.0.0:9501');
$w->eventLoop = $loop ?? null;
$w->uids = [];
$w->onMessage = function ($c, $uid) use ($w) {
    if ($uid === 'who') { $c->send(json_encode(array_keys($w->uids))); return; }
    if (isset($w->uids[$uid])) $w->uids[$uid]->CLOSE;
    $c->uid = $uid;
    $w->uids[$uid] = $c;
};
$w->onClose = function ($c) use ($w) { Pushd\publish('x', "gone $c->uid"); unset($w->uids[$c->uid]); ` + onClose + ` };
Workerman\Worker::runAll();`
	}
	for name, code := range map[string]string{
		"close":             workerman(""),
		"a throw in it":     workerman("throw new Exception('thrown');"),
		"coroutine of PHP":  "$loop = 'Workerman\\Events\\Fiber';" + workerman(""),
		"errors are caught": workerman("$c->errorHandler = function ($e) {}; nothing();"),
		"Ratchet": `
class Users implements Ratchet\MessageComponentInterface {
    public $uids = [];
    function onOpen(Ratchet\ConnectionInterface $c) {}
    function onMessage(Ratchet\ConnectionInterface $c, $uid) {
        if ($uid === 'who') { $c->send(json_encode(array_keys($this->uids))); return; }
        $old = $this->uids[$uid] ?? null;
        $c->uid = $uid;
        $this->uids[$uid] = $c;
        if ($old) $old->close();
    }
    function onClose(Ratchet\ConnectionInterface $c) { Pushd\publish('x', "gone $c->uid"); if ($this->uids[$c->uid] === $c) unset($this->uids[$c->uid]); }
    function onError(Ratchet\ConnectionInterface $c, Exception $e) { echo $e->getMessage(); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Users)), 9501)->run();`,
		"Swoole": `
$uids = $of = [];
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->on('message', function ($s, $f) use (&$uids, &$of) {
    if ($f->data === 'who') { $s->push($f->fd, json_encode(array_keys($uids))); return; }
    if (isset($uids[$f->data])) $s->close($uids[$f->data]);
    $uids[$of[$f->fd] = $f->data] = $f->fd;
});
$s->on('close', function ($s, $fd) use (&$uids, &$of) { Pushd\publish('x', 'gone ' . $of[$fd]); unset($uids[$of[$fd]]); });
$s->start();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, how := range []string{"close()", "destroy()"} {
				h := serve(t, program(t, strings.ReplaceAll(code, "CLOSE;", how+";")), "start")
				h.open(script.Open, big, "")
				h.open(script.Open, big+1, "")
				h.message(big, "bob")
				h.done()
				h.message(big+1, "bob")
				h.message(big, "bob") // it has said that before it knew
				if orders := h.done(); !slices.Contains(orders, fmt.Sprintf("END/1000 %d", uint64(big))) || !slices.Contains(orders, "PUBLISH 0 x gone bob") {
					t.Fatalf("%q\n%s", orders, h.log)
				}
				h.closed(big)
				h.message(big+1, "who")
				if orders := h.done(); !slices.Contains(orders, fmt.Sprintf(`SEND %d ["bob"]`, uint64(big+1))) || slices.Contains(orders, "PUBLISH 0 x gone bob") {
					t.Errorf("after the end: %q\n%s", orders, h.log)
				}
			}
		})
	}
}
