package php_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestQueued: what a callback has asked for to run behind it runs also where the process
// ends before its next turn, by a reload, by `exit`, and where what was queued says that.
func TestQueued(t *testing.T) {
	swoole := func(set, queue string) string {
		return `
$said = [];
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->set([` + set + `]);
$s->on('message', function ($s, $f) {
    global $said;
    $said[$f->fd] = true;
    $text = $f->data;
    if ($text === 'exit') { exit; }
    ` + queue + `
});
$s->on('task', function ($s, $id, $w, $text) { DO; return $text; });
$s->on('finish', function ($s, $id, $text) { Pushd\publish('x', "finish $text"); });
$s->start();`
	}
	for name, code := range map[string]string{
		"task":               swoole("", `$s->task($text);`),
		"task, no coroutine": swoole("'enable_coroutine' => false", `$s->task($text);`),
		"task of a task":     swoole("", `$s->defer(function () use ($s, $text) { $s->task($text); });`),
		"task that waits":    swoole("", `$s->defer(function () use ($text) { Co::sleep(0.01); DO; });`),
		"defer":              swoole("", `$s->defer(function () use ($text) { DO; });`),
		"Event::defer":       swoole("", `Swoole\Event::defer(function () use ($text) { DO; });`),
		"futureTick": `
class Chat implements Ratchet\MessageComponentInterface {
    public $all = [];
    function onOpen(Ratchet\ConnectionInterface $c) {}
    function onMessage(Ratchet\ConnectionInterface $c, $text) {
        $this->all[$c->resourceId] = $c;
        if ($text === 'exit') { exit; }
        React\EventLoop\Loop::futureTick(function () use ($text) { DO; });
    }
    function onClose(Ratchet\ConnectionInterface $c) {}
    function onError(Ratchet\ConnectionInterface $c, Exception $e) { echo $e->getMessage(); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), 9601)->run();`,
		"Timer of no time": `
$w = new Workerman\Worker('websocket://0.0.0.0:9601');
$w->all = [];
$w->onMessage = function ($c, $text) use ($w) {
    $w->all[$c->id] = $c;
    if ($text === 'exit') { exit; }
    Workerman\Timer::add(0, function () use ($text) { DO; }, [], false);
};
Workerman\Worker::runAll();`,
	} {
		for how, does := range map[string]string{
			"reload":               `Pushd\publish('x', "did $text")`,
			"exit":                 `Pushd\publish('x', "did $text")`,
			"exit, and exit there": `Pushd\publish('x', "did $text"); exit`,
		} {
			t.Run(name+": "+how, func(t *testing.T) {
				t.Parallel()
				h := serve(t, program(t, strings.ReplaceAll(code, "DO;", does+";")), "start")
				h.open(script.Open, big, "")
				h.open(script.Open, big+1, "")
				h.message(big, "this")
				if how != "reload" {
					h.message(big+1, "exit")
				}
				orders, carried := h.stop(script.Successor)
				if !slices.Contains(orders, "PUBLISH 0 x did this") {
					t.Errorf("%q: what was queued did not run\n%s", orders, h.log)
				}
				if len(carried) == 0 {
					t.Errorf("nothing is handed on\n%s", h.log)
				}
			})
		}
	}
}

// TestQueuedForEver: what queues itself again and again keeps no reload waiting, and what is left is said.
func TestQueuedForEver(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->on('message', function ($s, $f) { $s->task(0); });
$s->on('task', function ($s, $id, $w, $n) { $s->task($n + 1); });
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.stop(script.Successor)
	h.says("1 tasks, defer() and the like that callbacks have queued end with this process")
}
