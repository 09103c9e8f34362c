package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// listing is a program that writes to $worker->connections.
const listing = `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->connections = []; // as programs do that mean to fill it
$w->onConnect = function () {};
$w->onMessage = function ($c, $data) use ($w) {
    [$cmd, $arg] = explode(' ', $data . ' ', 2);
    $arg = trim($arg);
    switch ($cmd) {
        case 'in': $w->connections[$arg] = $c; break;
        case 'out': unset($w->connections[$arg]); break;
        case 'back': $w->connections[$c->id] = $c; break;
        case 'only': $w->connections = array_filter($w->connections, function ($o) use ($arg) { return $o->id == $arg; }); break;
        case 'all': foreach ($w->connections as $o) $o->send('to all'); return;
        case 'each': foreach ($w->connections as $k => &$o) $o->send("to $k"); return;
        case 'close': $c->close(); return;
        case 'to': isset($w->connections[$arg]) ? $w->connections[$arg]->send('to you') : $c->send('nobody'); return;
        case 'ref': $list = &$w->connections; $GLOBALS['list'] = &$list; $list['ref'] = $c; break;
    }
    $c->send(json_encode([count($w->connections), array_keys($w->connections)]));
};
$w->onClose = function ($c) use ($w) { unset($w->connections[$c->id]); echo count($w->connections), " left\n"; };
Worker::runAll();`

// TestListed: what a program writes into $worker->connections stays, and whom it takes out
// is in no list from then on.
func TestListed(t *testing.T) {
	file := program(t, listing)
	begin := func(t *testing.T) *host {
		h := serve(t, file, "start")
		for id := uint64(1); id <= 3; id++ {
			h.open(script.Open, id, "")
		}
		return h
	}
	t.Run("in", func(t *testing.T) {
		h := begin(t)
		h.message(1, "in ann")
		h.want(`SEND 1 [4,[1,2,3,"ann"]]`, "HELD+1 1")
		h.message(2, "to ann")
		h.want("SEND 1 to you")
		h.message(2, "all")
		h.want("MANY 0 1 2 3 1 to all")
		h.message(2, "in 7")
		h.want(`SEND 2 [5,[1,2,3,"ann",7]]`, "HELD+1 2")
		h.message(2, "in ann")
		h.want(`SEND 2 [5,[1,2,3,"ann",7]]`, "HELD 1")
		h.message(2, "to ann")
		h.want("SEND 2 to you")
		h.message(3, "out 7")
		h.message(3, "out ann")
		h.want(`SEND 3 [4,[1,2,3,"ann"]]`, `SEND 3 [3,[1,2,3]]`, "HELD 2")
		h.message(3, "to ann")
		h.want("SEND 3 nobody")
	})
	t.Run("out", func(t *testing.T) {
		h := begin(t)
		h.message(1, "out 2")
		h.want(`SEND 1 [2,[1,3]]`, `SESSION 2 {"pushd.unlisted":true}`)
		h.message(2, "all")
		h.want("MANY 0 1 3 to all")
		h.message(2, "to 2")
		h.want("SEND 2 nobody")
		h = serve(t, file, "start") // another process
		h.open(script.Resume, 1, "")
		h.open(script.Resume, 2, `{"pushd.unlisted":true}`)
		h.message(2, "all")
		h.want("SEND 1 to all")
		h.message(2, "back")
		h.want(`SEND 2 [2,[1,2]]`, "SESSION 2")
		h.message(2, "each")
		h.want("SEND 1 to 1", "SEND 2 to 2")
	})
	t.Run("anew", func(t *testing.T) {
		h := begin(t)
		h.message(1, "only 2")
		h.want(`SEND 1 [1,[2]]`, `SESSION 1 {"pushd.unlisted":true}`, `SESSION 3 {"pushd.unlisted":true}`)
		h.message(1, "all")
		h.want("SEND 2 to all")
	})
	t.Run("who goes", func(t *testing.T) { // as onClose of many programs has it
		h := begin(t)
		h.message(1, "close")
		h.want("END/1000 1")
		h.says("2 left\n")
		h.message(2, "in ann")
		h.want(`SEND 2 [3,[2,3,"ann"]]`, "HELD+1 2")
		h.closed(2)
		h.want()
		h.says("2 left\n2 left\n")
	})
	t.Run("reference", func(t *testing.T) {
		h := begin(t)
		h.message(1, "in ann")
		h.done()
		if strings.Contains(h.log.String(), "reference") {
			t.Errorf("there is none:\n%s", h.log)
		}
		h.message(1, "ref")
		h.want(`SEND 1 [5,[1,2,3,"ann","ref"]]`, "HELD+1 2", "HELD+1 3") // it has them all, for good
		h.says("a reference to $worker->connections")
	})
	t.Run("a reload", func(t *testing.T) {
		code := func(put, get string) string {
			return `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onConnect = function () {};
$w->onMessage = function ($c, $data) use ($w) { if ($data === 'put') { ` + put + `; $c->send('done'); } else { $c->send(json_encode(` + get + `)); } };
Workerman\Worker::runAll();`
		}
		both := code(`$w->connections['ann'] = $c; $w->connections[7] = $c; unset($w->connections[$c->id])`, `[$w->connections['ann'] === $c, array_keys($w->connections)]`)
		if h, orders := moved(t, both, both); !slices.Contains(orders, fmt.Sprintf(`SEND %d [true,["ann",7]]`, uint64(big))) {
			t.Errorf("%q\n%s", orders, h.log)
		}
	})
}
