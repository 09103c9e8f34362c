package php_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestIDs: $connection->id is the program's to set. What it sets stays, also over a reload,
// and all that the program does with the connection is done with this one.
func TestIDs(t *testing.T) {
	const code = `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->held = [];
$w->onMessage = function ($c, $data) use ($w) {
    switch ($data) {
        case 'text': $c->id = 'ann'; break;
        case 'bytes': $c->id = "\xff"; break;
        case 'of another': $c->id = 2; break;
        case 'object': $c->id = (object)['name' => 'ann']; break;
        case 'back': $c->id = (int)array_search($c, $w->connections, true); break;
        case 'hold': $w->held[] = $c; break;
        case 'hold, set': $w->held[0]->id = 'bob'; break;
        case 'drop': $w->held = []; break;
        case 'ids': foreach ($w->connections as $k => $o) echo json_encode([$k, $o->id, $w->connections[$k] === $o]), "\n"; break;
        case 'pause': $c->pauseRecv(); $c->resumeRecv(); break;
        case 'close': $c->close(); return;
    }
    $c->send(json_encode([bin2hex(is_string($c->id) ? $c->id : ''), $c->id], JSON_PARTIAL_OUTPUT_ON_ERROR));
};
$w->onClose = function ($c) { echo 'closed ' . json_encode($c->id) . "\n"; };
Worker::runAll();`
	file := program(t, code)
	for _, row := range []struct{ set, id, session string }{
		{"text", `["616e6e","ann"]`, `{"pushd.id":"ann"}`},
		{"bytes", `["ff",null]`, `"YToxOntzOjg6InB1c2hkLmlkIjtzOjE6Iv8iO30="`},
		{"of another", `["",2]`, `{"pushd.id":2}`},
	} {
		t.Run(row.set, func(t *testing.T) {
			h := serve(t, file, "start")
			h.open(script.Open, 1, "")
			h.open(script.Open, 2, "")
			h.message(1, row.set)
			h.want("SEND 1 "+row.id, "SESSION 1 "+row.session)
			h.message(1, "pause")
			h.want("PAUSE 1", "GOON 1", "SEND 1 "+row.id)
			h = serve(t, file, "start")
			h.open(script.Resume, 1, row.session)
			h.open(script.Resume, 2, "")
			h.message(2, "get")
			h.want(`SEND 2 ["",2]`)
			h.message(1, "get")
			h.want("SEND 1 " + row.id)
			h.message(1, "back")
			h.want(`SEND 1 ["",1]`, "SESSION 1")
		})
	}
	t.Run("list", func(t *testing.T) {
		h := serve(t, file, "start")
		h.open(script.Open, 1, "")
		h.open(script.Open, 2, "")
		h.message(1, "text")
		h.message(2, "ids")
		h.done()
		h.says("[1,\"ann\",true]\n[2,2,true]\n")
		h.message(1, "close")
		if orders := h.done(); !slices.Contains(orders, "END/1000 1") {
			t.Errorf("%q", orders)
		}
		h.says(`closed "ann"`)
	})
	t.Run("held", func(t *testing.T) { // who is not in the callback, and is let go in another
		h := serve(t, file, "start")
		h.open(script.Open, 1, "")
		h.open(script.Open, 2, "")
		h.message(1, "hold")
		h.done()
		h.message(2, "hold, set")
		h.done()
		h.message(2, "drop")
		if orders := h.done(); !slices.Contains(orders, `SESSION 1 {"pushd.id":"bob"}`) {
			t.Errorf("%q", orders)
		}
		h.message(1, "get")
		h.want(`SEND 1 ["626f62","bob"]`)
	})
	for _, id := range []string{`'ann'`, `(object)['name' => 'ann']`} {
		t.Run("carried "+id, func(t *testing.T) {
			code := func(put, get string) string {
				return `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) use ($w) { if ($data === 'put') { ` + put + `; $c->send('done'); } else { $c->send(json_encode(` + get + `)); } };
Workerman\Worker::runAll();`
			}
			code1 := code(`$c->id = `+id+`; $w->all[] = $c`, `$w->all[0] === $c && $c->id == `+id)
			if h, orders := moved(t, code1, code1); !slices.Contains(orders, fmt.Sprintf("SEND %d true", uint64(big))) {
				t.Errorf("%q\n%s", orders, h.log)
			}
		})
	}
}

// TestIDsOfStreams: so it is with what the process has opened itself, and with datagrams.
func TestIDsOfStreams(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Connection\TcpConnection;
$w = new Workerman\Worker('udp://0.0.0.0:2346');
$w->onResume = function () {}; // who looks at the list asks for nobody
$w->onWorkerStart = function () {
    [$a, $b] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    $one = new TcpConnection($a);
    $two = new TcpConnection($b);
    [$one->id, $two->id] = ['ann', 1];
    $two->onMessage = function ($c, $data) use ($one) {
        echo json_encode([$data, $c->id, $one->id, array_keys(iterator_to_array(TcpConnection::$connections)), TcpConnection::$connections[1] === $one]), "\n";
        $one->close();
    };
    $two->onClose = function () { echo count(TcpConnection::$connections), " left\n"; };
    $one->send('hi');
};
$w->onMessage = function ($c, $data) { $c->id = $data; $c->send("$data $c->id"); };
Workerman\Worker::runAll();`), "start")
	h.says(`["hi",1,"ann",[1,2],true]` + "\n0 left\n")
	h.write(script.AppendPacket(nil, script.Packet, "192.0.2.1:99", "udp://0.0.0.0:2346", []byte("ann")))
	h.want("REPLY 0 192.0.2.1:99 udp://0.0.0.0:2346 ann ann")
}
