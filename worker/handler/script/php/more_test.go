package php_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/script"
)

// TestTimers counts what timers send, by their order and not by a clock.
func TestTimers(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
use Workerman\Timer;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function ($w) {
    Timer::add(0.01, function ($a) {
        static $n = 0;
        if (++$n <= 3) Pushd\publish('x', "$a $n");
        if ($n === 3) Timer::delay(0.001, function () { Pushd\publish('x', 'last'); });
    }, ['tick']);
    $gone = Timer::add(0.01, function () { Pushd\publish('x', 'never'); });
    Timer::del($gone);
    Timer::add(0.001, function () { throw new Exception('in a timer'); }, [], false);
};
Worker::runAll();
`), "start")
	for _, want := range []string{"PUBLISH 0 x tick 1", "PUBLISH 0 x tick 2", "PUBLISH 0 x tick 3", "PUBLISH 0 x last"} {
		if got := h.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	h.says("Exception: in a timer")
}

// TestWords has what programs may say to pushd itself.
func TestWords(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    Pushd\publish('news', ['a' => 1]);
    Pushd\publish('news', 'x', $c, true);
    Pushd\broadcast('all', $c);
    Pushd\join($c, 'room');
    Pushd\leave($c, 'room');
    Pushd\bind($c, 42);
    Pushd\unbind($c);
    Pushd\sendToUid(42, 'hi');
    Pushd\sendTo($c->id, "\xff");
    Pushd\kick(42, 4001, 'elsewhere');
    $c->send(json_encode([Pushd\members('room'), Pushd\isOnline(42), Pushd\order(['op' => 'publish', 'channel' => 'x', 'data' => 'y'])]));
    try { Pushd\order(['op' => 'nonsense']); } catch (Exception $e) { $c->close($e->getMessage()); }
};
Worker::runAll();
`), "start")
	h.open(script.Open, 9, "")
	h.message(9, "go")
	h.message(9, "after") // comes while it waits for an answer
	h.tick()
	for _, want := range []string{
		`PUBLISH 0 news {"a":1}`, "PUBLISH+1 9 news x", "ALL 9 all", "JOIN 9 room", "LEAVE 9 room", "BIND 9 42", "BIND 9",
		`ORDER 0 {"op":"send","uid":"42","data":"hi"}`, `ORDER 0 {"op":"send","connection":"9","data_base64":"/w=="}`,
		`ORDER 0 {"op":"kick","uid":"42","code":4001,"reason":"elsewhere"}`,
		`CALL 1 {"what":"members","channel":"room","limit":1000}`,
	} {
		if got := h.next(); got != want {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
	answer := func(n uint64, flags byte, json string) {
		h.event(script.Frame{Op: script.Answer, Flags: flags, Conn: n, Payload: []byte(json)})
	}
	answer(1, 0, `{"members":[{"connection":9,"uid":"42"}],"total":1,"complete":true}`)
	h.next()
	answer(2, 0, `{"online":{"42":3},"complete":true}`)
	h.next()
	answer(3, 0, `{}`)
	if got := h.next(); got != `SEND 9 [[{"connection":9,"uid":"42"}],3,[]]` {
		t.Errorf("answers are %q", got)
	}
	h.next()
	answer(4, 1, `{"error":"there is no order \"nonsense\""}`)
	for _, want := range []string{`SEND 9 pushd: there is no order "nonsense"`, "END/1000 9"} {
		if got := h.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestWordsIncomplete: who is there is not told apart from who is not where a process has not
// answered, or none was asked: that is an exception, with what is known.
func TestWordsIncomplete(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    foreach (['isOnline', 'members'] as $what) {
        try { $c->send(json_encode(("Pushd\\$what")(42))); }
        catch (Pushd\Incomplete $e) { $c->send($e->getMessage() . ' ' . json_encode($e->partial)); }
    }
};
Workerman\Worker::runAll();`), "start")
	h.open(script.Open, 9, "")
	h.message(9, "go")
	h.message(9, "go")
	h.tick()
	for i, x := range []struct {
		flags  byte
		answer string
		want   string
	}{
		{0, `{"online":{"42":1},"complete":false}`, "pushd: isOnline() is not known: a process has not answered in time 1"},
		{0, `{"members":[{"connection":9}],"total":1,"complete":false}`, `pushd: members() is not known: a process has not answered in time [{"connection":9}]`},
		{1, `{"error":"broker is away"}`, "pushd: isOnline() is not known: broker is away 0"},
		{1, `{"error":"broker is away"}`, "pushd: members() is not known: broker is away []"},
	} {
		for !strings.HasPrefix(h.next(), "CALL") {
		}
		h.event(script.Frame{Op: script.Answer, Flags: x.flags, Conn: uint64(i + 1), Payload: []byte(x.answer)})
		if got := h.next(); got != "SEND 9 "+x.want {
			t.Errorf("got %q, want %q", got, x.want)
		}
	}
}

// TestWordsRefused: what cannot be said as JSON is an exception that names it, on every way
// out, and nothing goes out in its place. Workerman's send() takes scalars as strings.
func TestWordsRefused(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $n) {
    $bad = ['name' => "J\xfcrgen"];
    $calls = [
        function () use ($bad) { Pushd\publish('a', $bad); },
        function () use ($bad) { Pushd\broadcast($bad); },
        function () use ($bad) { Pushd\sendToUid('7', $bad); },
        function () use ($bad) { Pushd\sendTo(9, (object)$bad); },
        function () use ($c, $bad) { $c->send([$bad]); },
        function () { Pushd\kick('7', 4001, "gef\xfcllt"); },
        function () { Pushd\sendToUid("\xfc", 'x'); },
        function () { Pushd\order(['op' => 'publish', 'channel' => 'a', 'data' => ["\xff" => 1]]); },
        function () { Pushd\isOnline("\xfc"); },
        function () { Pushd\members("\xfc"); },
        function () { Pushd\publish('a', NAN); },
        function () { Pushd\publish('a', fopen('php://memory', 'r')); },
        function () { Pushd\publish('a', false); },
        function () { Pushd\publish('a', 0.1 + 0.2); },
        function () use ($c) { Pushd\bind($c, ''); },
        function () use ($c) { $c->send(true); },
        function () use ($c) { $c->send(NAN); },
    ];
    try { $calls[$n](); } catch (JsonException $e) { $c->send($e->getMessage()); }
};
Worker::runAll();
`), "start")
	h.open(script.Open, 9, "")
	for i, want := range []string{
		`SEND 9 pushd: data["name"] is not UTF-8: "J\xfcrgen"`, `SEND 9 pushd: data["name"] is not UTF-8: "J\xfcrgen"`,
		`SEND 9 pushd: data["name"] is not UTF-8: "J\xfcrgen"`, `SEND 9 pushd: data["name"] is not UTF-8: "J\xfcrgen"`,
		`SEND 9 pushd: data[0]["name"] is not UTF-8: "J\xfcrgen"`,
		`SEND 9 pushd: reason is not UTF-8: "gef\xfcllt"`, `SEND 9 pushd: uid is not UTF-8: "\xfc"`,
		`SEND 9 pushd: a key of data is not UTF-8: "\xff"`, `SEND 9 pushd: uids[0] is not UTF-8: "\xfc"`, `SEND 9 pushd: channel is not UTF-8: "\xfc"`,
		`SEND 9 pushd: data has no JSON: Inf and NaN cannot be JSON encoded`, `SEND 9 pushd: data has no JSON: Type is not supported`,
		`PUBLISH 0 a false`, `PUBLISH 0 a 0.30000000000000004`, `ORDER 0 {"op":"bind","connection":"9","uid":""}`, `SEND 9 1`, `SEND 9 NAN`,
	} {
		h.message(9, strconv.Itoa(i))
		h.want(want)
	}
}

// TestStop: nobody comes behind a program that ends, so nothing is carried, nor said to be.
func TestStop(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $uid) use ($w) { $w->uidConnections[$uid] = $c; };
Worker::runAll();
`), "start")
	h.open(script.Open, 9, "")
	h.message(9, "ann")
	h.done()
	if _, carried := h.stop(0); carried != nil || strings.Contains(h.log.String(), "carried over") {
		t.Errorf("carried %q\n%s", carried, h.log)
	}
}

// TestConnections asks for the list where connections are told late.
func TestConnections(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) use ($w) {
    foreach ($w->connections as $o) $o->seen = ($o->seen ?? 0) + 1;
    $c->send(count($w->connections) . ' ' . isset($w->connections[2]) . ' ' . $c->seen);
};
Worker::runAll();
`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "a")
	h.tick()
	if got := h.next(); got != "ASK_OPENS 1" {
		t.Fatalf("got %q", got)
	}
	// What was on its way comes in its turn; the answer is outside of batches.
	h.open(script.Open, 2, `{"seen":5}`)
	h.open(script.Open, 3, "")
	h.event(script.Frame{Op: script.Answer, Conn: 1, Payload: []byte("{}")})
	for _, want := range []string{"SEND 1 3 1 1", `SESSION 1 {"seen":1}`, `SESSION 2 {"seen":6}`, `SESSION 3 {"seen":1}`, "DONE 1"} {
		if got := h.next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	h.message(1, "b")
	h.want("SEND 1 3 1 2", `SESSION 1 {"seen":2}`, `SESSION 2 {"seen":7}`, `SESSION 3 {"seen":2}`)
}

// TestConnectionsOnce: the list is made once for a callback that looks at it for each of many
// clients, and anew when somebody has come or gone.
func TestConnectionsOnce(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onConnect = function () {};
$w->onMessage = function ($c, $data) use ($w) {
    $first = $w->connections;
    $before = memory_get_usage();
    $again = [$w->connections, $w->connections, $w->connections];
    $grown = memory_get_usage() - $before;
    $c->close();
    $c->send(''); // to nobody
    end($first)->send(($grown < 10000 ? 'once' : "$grown bytes more") . ' ' . count($w->connections));
};
Workerman\Worker::runAll();`), "start")
	const n = 1000
	for i := range n {
		h.open(script.Open, uint64(i+1), "")
	}
	h.message(1, "x")
	h.want("END/1000 1", fmt.Sprintf("SEND %d once %d", n, n-1))
	h.open(script.Open, n+1, "")
	h.message(2, "x")
	h.want("END/1000 2", fmt.Sprintf("SEND %d once %d", n+1, n-1))
}

// TestBytes: what a connection has said and was sent is counted as Workerman does, and
// goes along to the next process; with what frames a message as text or frame, too.
func TestBytes(t *testing.T) {
	for _, row := range []struct{ protocol, first, second, session string }{
		{"tcp", "1 0", "3 3", `{"bytesRead":3,"bytesWritten":6}`},
		{"text", "2 0", "5 4", `{"bytesRead":5,"bytesWritten":8}`},
		{"frame", "5 0", "11 7", `{"bytesRead":11,"bytesWritten":15}`},
		{"websocket", "1 0", "3 3", `{"bytesRead":3,"bytesWritten":6}`},
	} {
		t.Run(row.protocol, func(t *testing.T) {
			file := program(t, fmt.Sprintf(`
use Workerman\Worker;
$w = new Worker('%s://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { $c->send("$c->bytesRead $c->bytesWritten"); };
$w->onClose = function ($c) { echo "ends with $c->bytesRead $c->bytesWritten\n"; };
Worker::runAll();`, row.protocol))
			h := serve(t, file, "start")
			h.openAt(script.Open, 1, "", row.protocol+"://0.0.0.0:2346", "", "")
			h.message(1, "a")
			h.message(1, "bc")
			h.want("SEND 1 "+row.first, "SEND 1 "+row.second, "SESSION 1 "+row.session)
			h = serve(t, file, "start")
			h.openAt(script.Resume, 1, row.session, row.protocol+"://0.0.0.0:2346", "", "")
			h.closed(1)
			h.want()
			var n struct{ BytesRead, BytesWritten int }
			must(t, json.Unmarshal([]byte(row.session), &n))
			h.says(fmt.Sprintf("ends with %d %d\n", n.BytesRead, n.BytesWritten))
		})
	}
}

// TestEveryone: TcpConnection::$connections are the clients and what the process has
// opened itself, and hold nobody.
func TestEveryone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	h := serve(t, program(t, fmt.Sprintf(`
use Workerman\Connection\TcpConnection;
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    $c = new Workerman\Connection\AsyncTcpConnection('tcp://%s');
    $c->onConnect = function ($c) { echo isset(TcpConnection::$connections[$c->id]) ? "listed\n" : "missing\n"; };
    $c->connect();
};
$w->onConnect = function () {};
$w->onMessage = function ($c, $data) {
    $all = [];
    foreach (TcpConnection::$connections as $id => $o) $all[] = get_class($o) . ' ' . ($id === $o->id);
    if ($data === 'close') foreach (TcpConnection::$connections as $o) if ($o instanceof Workerman\Connection\AsyncTcpConnection) $o->close();
    $c->send(count(TcpConnection::$connections) . ' ' . (TcpConnection::$connections[$c->id] === $c) . ' ' . isset(TcpConnection::$connections[999]) . ' ' . implode(',', $all));
};
Workerman\Worker::runAll();`, ln.Addr())), "start")
	h.says("listed\n")
	h.open(script.Open, big, "")
	h.open(script.Open, big+1, "")
	const one = `Workerman\Connection\TcpConnection 1,`
	h.message(big, "list")
	h.want(fmt.Sprint("SEND ", big, " 3 1  ", one, one, `Workerman\Connection\AsyncTcpConnection 1`))
	h.message(big, "close")
	h.want(fmt.Sprint("SEND ", big, " 2 1  ", one, one, `Workerman\Connection\AsyncTcpConnection 1`))
}

// TestClientFails: who is not connected to is closed behind onError, unless that connects
// anew.
func TestClientFails(t *testing.T) {
	address := pushdtest.FreeAddr(t) // held, and nobody listens
	h := serve(t, program(t, fmt.Sprintf(`
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    $c = new Workerman\Connection\AsyncTcpConnection('tcp://%s');
    $n = 0;
    $c->onError = function ($c, $code) use (&$n) {
        Pushd\publish('x', "error $code " . $c->getStatus(false));
        if (++$n === 1) $c->reconnect(0.001);
    };
    $c->onClose = function ($c) { Pushd\publish('x', 'closed ' . $c->getStatus(false)); };
    $c->connect();
};
Workerman\Worker::runAll();`, address)), "start")
	for _, want := range []string{"error 1 CLOSING", "error 1 CLOSING", "closed CLOSED"} {
		if got := h.next(); got != "PUBLISH 0 x "+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHandshakeGlobals has what callbacks of Workerman 3, 4 and 5 look at.
func TestHandshakeGlobals(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) {
    $c->onWebSocketConnect = function ($c, $request) {
        $c->send(implode('|', [$_GET['token'], $_SERVER['HTTP_X_REAL_IP'], $_COOKIE['c'], $_SERVER['REQUEST_URI'], $request->get('token'),
            $request->header('origin'), strpos($request, 'GET /chat'), $c->getRemoteIp(), $c->getRemotePort(), $c->getLocalPort()]));
    };
};
Worker::runAll();
`), "start")
	h.open(script.Open, 1, "")
	h.want("SEND 1 t1|192.0.2.9|d e|/chat?token=t1|t1|http://example.org|0|192.0.2.1|40001|2346")
}

// TestOwnProtocol cuts bytes into packets with a class of the program.
func TestOwnProtocol(t *testing.T) {
	file := program(t, `
namespace Protocols {
    class Lines {
        static function input($b, $c) { if ($b[0] === '!') return -1; $at = strpos($b, ';'); return $at === false ? 0 : $at + 1; }
        static function decode($b, $c) { return rtrim($b, ';'); }
        static function encode($b, $c) { return "<$b>"; }
    }
}
namespace {
    $w = new Workerman\Worker('lines://0.0.0.0:2346');
    $w->onMessage = function ($c, $data) { $c->send("got $data"); if ($data === 'raw') $c->send('bytes', true); if ($data === 'end') $c->close('bye'); };
    Workerman\Worker::runAll();
}`)
	h := serve(t, file, "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.message(1, "one;two;th")
	h.want("SEND 1 <got one>", "SEND 1 <got two>", `SESSION 1 {"pushd.rest":"th"}`)
	h = serve(t, file, "start") // half a packet outlives a reload
	h.openAt(script.Resume, 1, `{"pushd.rest":"th"}`, "tcp://0.0.0.0:2346", "", "")
	h.message(1, "ree;raw;end;never;")
	h.want("SEND 1 <got three>", "SEND 1 <got raw>", "SEND 1 bytes", "SEND 1 <got end>", "SEND 1 <bye>", "END/1000 1")
	h.openAt(script.Open, 2, "", "tcp://0.0.0.0:2346", "", "")
	h.message(2, "!wrong")
	h.want("END/1000 2")
}

func TestHTTP(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
use Workerman\Protocols\Http\Response;
$w = new Worker('http://0.0.0.0:2346');
$w->onMessage = function ($c, $request) {
    if ($request->path() === '/json') { $c->send(new Response(201, ['X-A' => 'b'], json_encode([$request->get('a'), $request->post('b'), $request->method()]))); return; }
    $c->send('hello');
};
Worker::runAll();
`), "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.message(1, "GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST /json?a=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\nb=")
	orders := h.done()
	if len(orders) != 2 || !strings.HasPrefix(orders[0], "SEND 1 HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(orders[0], "Content-Length: 5\r\n\r\nhello") {
		t.Fatalf("%q", orders)
	}
	h.message(1, "2")
	orders = h.done()
	if !strings.HasPrefix(orders[0], "SEND 1 HTTP/1.1 201 Created\r\nX-A: b\r\n") || !strings.HasSuffix(orders[0], "\r\n\r\n[\"1\",\"2\",\"POST\"]") {
		t.Fatalf("%q", orders)
	}
	h.message(1, "NONSENSE\r\n\r\n")
	if orders = h.done(); !strings.Contains(strings.Join(orders, ","), "400 Bad Request") || !strings.Contains(strings.Join(orders, ","), "END/1000 1") {
		t.Errorf("%q", orders)
	}
}

// TestUploads: forms with files, in Workerman's shape, without a Workerman of the program's
// own; what is not moved goes with its request. Headers of a connection are of one answer.
func TestUploads(t *testing.T) {
	dir := t.TempDir()
	h := serve(t, program(t, fmt.Sprintf(`
use Workerman\Protocols\Http;
$w = new Workerman\Worker('http://0.0.0.0:2346');
$w->onWorkerStart = function () { Http::uploadTmpDir('%s'); };
$w->onMessage = function ($c, $r) {
    if ($r->path() === '/left') { $c->send(count(glob(Http::uploadTmpDir() . '/*')) . file_get_contents('moved')); return; }
    $f = $r->file('one');
    rename($f['tmp_name'], 'moved');
    $c->headers['Set-Cookie'] = ['a=b'];
    $shown = [];
    $all = $r->file();
    array_walk_recursive($all, function ($v, $k) use (&$shown) { if ($k !== 'tmp_name') $shown[] = "$k=$v"; });
    $c->send(json_encode([$r->post(), array_keys($r->file()), implode(' ', $shown), file_get_contents($r->file('more')[1]['tmp_name']), $r->file('none')], JSON_UNESCAPED_SLASHES));
};
Workerman\Worker::runAll();`, dir)), "start")
	form := strings.ReplaceAll(`--b1
Content-Disposition: form-data; name="name"

bob
--b1
Content-Disposition: form-data; name="one"; filename="dir/x.txt"
Content-Type: text/plain

12345
--b1
Content-Disposition: form-data; name="more[]"; filename="a"

A
--b1
Content-Disposition: form-data; name="more[]"; filename="b"

B
--b1--
`, "\n", "\r\n")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	ask := func(request, body string) string {
		h.message(1, fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b1\r\nContent-Length: %d\r\n\r\n%s", request, len(body), body))
		return strings.Join(h.done(), ",")
	}
	answer := ask("POST /", form)
	if want := `[{"name":"bob"},["one","more"],"name=x.txt type=text/plain error=0 size=5 full_path=dir/x.txt name=a type= error=0 size=1 full_path=a name=b type= error=0 size=1 full_path=b","B",null]`; !strings.HasSuffix(answer, "\r\n\r\n"+want) || !strings.Contains(answer, "Set-Cookie: a=b\r\n") {
		t.Errorf("got  %s\nwant %s\n%s", answer, want, h.log)
	}
	if answer = ask("GET /left", ""); !strings.HasSuffix(answer, "\r\n\r\n012345") || strings.Contains(answer, "Set-Cookie") {
		t.Error(answer)
	}
}

func TestUDP(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('udp://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { $c->send("$data from " . $c->getRemoteIp()); };
Workerman\Worker::runAll();
`), "start")
	h.write(script.AppendPacket(nil, script.Packet, "192.0.2.1:99", "udp://0.0.0.0:2346", []byte("hi")))
	h.want("REPLY 0 192.0.2.1:99 udp://0.0.0.0:2346 hi from 192.0.2.1")
}

func TestFull(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    $c->maxSendBufferSize = 10;
    $c->other = json_encode([$c->send('12345678'), $c->send('12345678'), $c->send('12345678')]);
};
$w->onError = function ($c, $code, $message) { echo "error $code: $message\n"; };
$w->onBufferFull = function ($c) { $c->full = 1; };
$w->onBufferDrain = function ($c) { $c->send("drain $c->full"); };
Workerman\Worker::runAll();
`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "a")
	h.want("MANY 0 1 1 1 12345678", `SESSION 1 {"maxSendBufferSize":10,"other":"[true,true,true]"}`)
	full := script.Frame{Op: script.Full, Conn: 1}.Append(nil) // in one piece with the message: sessions go out when all that has come is done
	h.write(script.Frame{Op: script.Message, Conn: 1, Payload: []byte("a")}.Append(full))
	h.want("HELD+1 1", `SESSION 1 {"maxSendBufferSize":10,"other":"[null,null,false]","full":1}`) // what waits in PHP, a kill would lose
	h.says("error 2: send buffer full and drop package")
	h.event(script.Frame{Op: script.Drain, Conn: 1})
	h.want("MANY 0 1 1 12345678", "HELD 1", "SEND 1 drain 1")
}

// TestFullFails: a callback of a slow client that throws costs him the connection, and of
// one that ends the process pushd is told whose it was.
func TestFullFails(t *testing.T) {
	for _, op := range []script.Op{script.Full, script.Drain} {
		h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { $c->how = $data; };
$w->onBufferFull = $w->onBufferDrain = function ($c) { if ($c->how === 'exit') exit; throw new Exception('slow'); };
Workerman\Worker::runAll();
`), "start")
		for id, how := range map[uint64]string{1: "throw", 2: "exit"} {
			h.open(script.Open, id, "")
			h.message(id, how)
		}
		h.done()
		h.event(script.Frame{Op: op, Conn: 1})
		h.want("END/1011 1 internal error")
		h.event(script.Frame{Op: op, Conn: 2})
		h.tick()
		if got := h.next(); got != "POISON 2 0" {
			t.Errorf("%s: %q\n%s", op, got, h.log)
		}
	}
}

// TestInner has a listener of PHP's own and a client of it in one program.
func TestInner(t *testing.T) {
	port := pushdtest.FreePort(t)
	h := serve(t, program(t, fmt.Sprintf(`
use Workerman\Worker;
use Workerman\Connection\AsyncTcpConnection;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function ($w) {
    $inner = new Worker('text://127.0.0.1:%[1]d');
    $inner->onMessage = function ($c, $data) use ($inner) {
        $inner->connections['again'] = $c;
        $c->send("inner $data " . count($inner->connections));
        unset($inner->connections['again']);
        Pushd\broadcast($data);
    };
    $inner->onClose = function ($c) { Pushd\publish('x', 'inner closed'); };
    $inner->listen();
    $a = new AsyncTcpConnection('text://127.0.0.1:%[1]d');
    $a->onConnect = function ($a) { $a->send('hello'); };
    $a->onMessage = function ($a, $data) { Pushd\publish('x', "client $data"); $a->close(); };
    $a->connect();
    $b = new AsyncTcpConnection('tcp://127.0.0.1:1');
    $b->onError = function ($b, $code, $text) { Pushd\publish('x', "error $code"); };
    $b->connect();
};
Worker::runAll();
`, port)), "start")
	got := map[string]bool{}
	for range 4 {
		got[h.next()] = true
	}
	for _, want := range []string{"ALL 0 hello", "PUBLISH 0 x client inner hello 2", "PUBLISH 0 x inner closed", "PUBLISH 0 x error 1"} {
		if !got[want] {
			t.Errorf("%q is not among %v\n%s", want, got, h.log)
		}
	}
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), patience)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	io.WriteString(c, "from outside\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "inner from outside 2\n" {
		t.Errorf("answer is %q, %v", line, err)
	}
	if got := h.next(); got != "ALL 0 from outside" {
		t.Errorf("got %q", got)
	}
}

// TestSchemes: a protocol class has the name that is written, since a loader of files minds
// its case, or is the class itself, for Workers, those made in onWorkerStart, and clients.
func TestSchemes(t *testing.T) {
	for _, scheme := range []string{"JsonLines", "jsonLines", `\\App\\LineProto`} {
		t.Run(scheme, func(t *testing.T) {
			port := pushdtest.FreePort(t)
			file := program(t, fmt.Sprintf(`
use Workerman\Worker;
use Workerman\Connection\AsyncTcpConnection;
$w = new Worker('%[1]s://0.0.0.0:2346');
$w->onWorkerStart = function ($w) {
    $inner = new Worker('%[1]s://127.0.0.1:%[2]d');
    $inner->onMessage = function ($c, $data) { $c->send(['inner' => $data]); };
    $inner->listen();
    $u = new Workerman\Connection\AsyncUdpConnection('%[1]s://127.0.0.1:%[2]d');
    Pushd\publish('x', $u->protocol::encode([0]));
    $a = new AsyncTcpConnection('%[1]s://127.0.0.1:%[2]d');
    $a->onConnect = function ($a) { $a->send([1]); };
    $a->onMessage = function ($a, $data) { Pushd\publish('x', json_encode($data)); };
    $a->connect();
};
$w->onMessage = function ($c, $data) { $c->send(['main' => $data]); };
Worker::runAll();
`, scheme, port))
			for class, folder := range map[string]string{"JsonLines": "Protocols", "LineProto": "App"} {
				must(t, os.Mkdir(filepath.Join(filepath.Dir(file), folder), 0o755))
				must(t, os.WriteFile(filepath.Join(filepath.Dir(file), folder, class+".php"), []byte(fmt.Sprintf(`<?php
namespace %s;
class %s {
    static function input($b) { return strpos($b, "\n") + 1; }
    static function encode($b) { return json_encode($b) . "\n"; }
    static function decode($b) { return json_decode($b, true); }
}`, folder, class)), 0o644))
			}
			h := serve(t, file, "start")
			for _, want := range []string{"PUBLISH 0 x [0]", `PUBLISH 0 x {"inner":[1]}`} {
				if got := h.next(); got != want {
					t.Errorf("got %q, want %q\n%s", got, want, h.log)
				}
			}
			h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
			h.message(1, "[2]\n")
			h.want(`SEND 1 {"main":[2]}`)
		})
	}
}

// TestResume tells a program that wants to know who has come from the process before.
func TestResume(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) { $c->onMessage = function ($c) { $c->send('own'); }; };
$w->onResume = function ($c) { $c->send("back $c->uid"); };
$w->onWorkerStop = function ($w) { foreach ($w->connections as $c) $c->close(); };
Workerman\Worker::runAll();
`), "start")
	h.open(script.Resume, 1, `{"uid":"ann"}`)
	h.want("SEND 1 back ann")
	h.open(script.Open, 2, "")
	h.message(2, "x")
	h.want("SEND 2 own") // not held: onResume can set it again
	if orders, _ := h.stop(script.Successor); len(orders) != 1 {
		t.Errorf("what onWorkerStop closes at a reload: %q", orders)
	}
}

// TestOwnStreams: a TcpConnection of a stream of the program's own, a process's output
// for one, as Workerman 4 and 5 have it. It ends with its stream, and with no client.
func TestOwnStreams(t *testing.T) {
	for name, args := range map[string]string{"4": "$out", "5": "Worker::getEventLoop(), $out, '192.0.2.1:5'"} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, program(t, `
use Workerman\Worker;
use Workerman\Connection\TcpConnection;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) {
    $out = popen('echo a line', 'r');
    $c->process = new TcpConnection(`+args+`);
    $c->process->tag = 'said';
    $c->process->other = 1;
    unset($c->process->other);
    $c->process->consumeRecvBuffer(0);
    $c->process->onMessage = function ($p, $data) use ($c) { $c->send("$p->tag $data" . json_encode([$p === $c->process, $p->getStatus(false), $p->getRemoteIp(), isset($p->other)])); };
    $c->process->onClose = function ($p) use ($c) { $c->send('ended ' . $p->getStatus(false)); };
};
$w->onMessage = function ($c) { $c->process->close(); $c->send($c->process->getStatus(false) . var_export($c->process->send('x'), true)); };
Worker::runAll();`), "start")
			h.open(script.Open, 1, "")
			said := func(orders []string) []string {
				return slices.DeleteFunc(orders, func(o string) bool { return strings.HasPrefix(o, "HELD") }) // when depends on how PHP has read
			}
			got := said(h.done())
			for len(got) < 2 {
				got = append(got, said([]string{h.next()})...)
			}
			ip := map[string]string{"4": "", "5": "192.0.2.1"}[name]
			if want := []string{`SEND 1 said a line` + "\n" + `[true,"ESTABLISHED","` + ip + `",false]`, "SEND 1 ended CLOSED"}; !slices.Equal(got, want) {
				t.Fatalf("got %q, want %q\n%s", got, want, h.log)
			}
			h.message(1, "x")
			if got := h.done(); !slices.Contains(got, "SEND 1 CLOSEDfalse") {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestSleepHoldsUpNobodyBefore: what callbacks have said goes out before one of the same
// batch sleeps.
func TestSleepHoldsUpNobodyBefore(t *testing.T) {
	file := program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { while ($data === 'wait' && !file_exists(__DIR__ . '/go')) usleep(1000); $c->send($data); };
Workerman\Worker::runAll();`)
	h := serve(t, file, "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "quick")
	h.message(2, "wait")
	h.tick()
	if got := h.next(); got != "SEND 1 quick" {
		t.Fatalf("%q", got)
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "go"), nil, 0o600))
	if got := h.next(); got != "SEND 2 wait" {
		t.Errorf("%q", got)
	}
}

// TestAtStart: what a program says in onWorkerStart comes behind READY, who is there is
// nobody yet, and what would need an answer is refused in words.
func TestAtStart(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function ($w) {
    global $before;
    Pushd\publish('news', 'up ' . count($w->connections) . count(Workerman\Connection\TcpConnection::$connections) . " $before " . count(Worker::getAllWorkers()) . Worker::getStatus());
    foreach ($w->connections as $c) echo "nobody\n";
    try { Pushd\members('news'); } catch (Exception $e) { echo $e->getMessage(), "\n"; }
    $w->onClose = function () {};
};
$w->onMessage = function ($c) use ($w) { $c->send(count($w->connections)); };
$other = new Worker('text://0.0.0.0:2347');
$before = count(Worker::getAllWorkers()) . Worker::getStatus();
Worker::runAll();`), "start-2346")
	if got := h.next(); got != "PUBLISH 0 news up 00 20 12" {
		t.Errorf("got %q", got)
	}
	if !slices.Contains(h.welcome.Wants, script.WantClose) {
		t.Errorf("wants %q", h.welcome.Wants)
	}
	h.says("pushd: a question has no answer before the start is over")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want("SEND 1 1")
}
