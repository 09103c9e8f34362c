package php_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestPause: what came in one batch with what a program pauses at waits until it
// reads again, through a reload too.
func TestPause(t *testing.T) {
	file := program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    global $paused;
    if ($data === 'pause') { $paused = $c; $c->pauseRecv(); return; }
    if ($data === 'resume all') { $paused->resumeRecv(); return; }
    $c->send("got $data");
};
Workerman\Worker::runAll();
`)
	h := serve(t, file, "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	for _, m := range []string{"pause", "a", "pause", "b"} {
		h.message(1, m)
	}
	h.want("PAUSE 1", `SESSION 1 {"pushd.held":["a","pause","b"]}`, "HELD+1 1")
	h.message(2, "resume all")
	h.want("GOON 1", "SEND 1 got a", "PAUSE 1", `SESSION 1 {"pushd.held":["b"]}`)
	h.message(2, "resume all")
	h.want("GOON 1", "SEND 1 got b", "SESSION 1")
	h = serve(t, file, "start")
	h.open(script.Resume, 1, `{"pushd.held":["b"]}`)
	h.want("SEND 1 got b", "SESSION 1")
	h.open(script.Resume, 2, `"`+base64.StdEncoding.EncodeToString([]byte("a:1:{s:10:\"pushd.held\";a:1:{i:0;s:1:\"\xff\";}}"))+`"`)
	h.want("SEND 2 got \xff", "SESSION 2")
	h.message(1, "c")
	h.want("SEND 1 got c")
}

// TestStdoutFile: a daemon that has put its output into a file can still log.
func TestStdoutFile(t *testing.T) {
	dir := t.TempDir()
	out, log := filepath.Join(dir, "out"), filepath.Join(dir, "log")
	t.Setenv("PUSHD_DAEMON", "1")
	h := serve(t, program(t, fmt.Sprintf(`
use Workerman\Worker;
Worker::$stdoutFile = '%s';
Worker::$logFile = '%s';
$w = new Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () { echo "echoed\n"; Worker::log('logged'); };
$w->onMessage = function ($c, $data) { throw new Exception('thrown'); };
Worker::runAll();
`, out, log)), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want("END/1011 1 internal error")
	for file, words := range map[string][]string{out: {"echoed", "logged", "thrown"}, log: {"logged"}} {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, w := range words {
			if !strings.Contains(string(text), w) {
				t.Errorf("%q is not in %s: %q", w, file, text)
			}
		}
	}
}

// TestTable: Swoole's table, and classes that are only asked for.
func TestTable(t *testing.T) {
	h := serve(t, program(t, `
$table = new Swoole\Table(2);
$table->column('name', Swoole\Table::TYPE_STRING, 3);
$table->column('n', Swoole\Table::TYPE_INT);
$table->create();
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->on('message', function ($s, $frame) use ($table) {
    $table->set('a', ['name' => 'Annette', 'n' => '7']);
    $table->incr('a', 'n', 2);
    $table->set('b', ['n' => 1]);
    $full = @$table->set('c', ['n' => 1]);
    $s->push($frame->fd, json_encode([$table->get('a'), $table->get('b', 'name'), $full, count($table), $table->exist('c'), isset($table['b']), $table->del('b'), $table->get('b'),
        array_keys(iterator_to_array($table))]));
    new Swoole\Process\Pool(1);
});
$s->start();
`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want(`SEND 1 [{"name":"Ann","n":9},"",false,2,false,true,true,false,["a"]]`, "END/1011 1 internal error")
	h.says("pushd starts the processes")
}

// TestWsClient: a program is a client of another WebSocket server, without a
// Workerman of its own.
func TestWsClient(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	heard := make(chan string, 8)
	go serveOne(ln, heard)
	h := serve(t, program(t, fmt.Sprintf(`
use Workerman\Connection\AsyncTcpConnection;
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    $c = new AsyncTcpConnection('ws://%s/feed?x=1');
    $c->headers = ['X-Token' => 'abc'];
    $c->onConnect = function ($c) { $c->send('early'); };
    $c->onWebSocketConnect = function ($c) { Pushd\publish('x', 'up'); };
    $c->onMessage = function ($c, $data) { Pushd\publish('x', $data . isset($c->websocketType)); $c->send(str_repeat('y', 300)); };
    $c->onClose = function () { Pushd\publish('x', 'closed'); };
    $c->connect();
};
Workerman\Worker::runAll();
`, ln.Addr())), "start")
	for _, want := range []string{"PUBLISH 0 x up", "PUBLISH 0 x hello world1", "PUBLISH 0 x closed"} {
		if got := h.next(); got != want {
			t.Errorf("got %q, want %q\n%s", got, want, h.log)
		}
	}
	got := []string{<-heard, <-heard, <-heard, <-heard}
	if want := []string{"/feed?x=1 abc", "1 early", "10 ping", "1 " + strings.Repeat("y", 300)}; !slices.Equal(got, want) {
		t.Errorf("the server heard %q", got)
	}
}

// serveOne is a WebSocket server for one client: a ping between two fragments,
// and a goodbye.
func serveOne(ln net.Listener, heard chan<- string) {
	defer close(heard)
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	heard <- req.URL.RequestURI() + " " + req.Header.Get("X-Token")
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	heard <- clientFrame(r)
	fmt.Fprintf(c, "\x01\x06hello \x89\x04ping\x80\x05world")
	heard <- clientFrame(r)
	heard <- clientFrame(r)
	fmt.Fprintf(c, "\x88\x02\x03\xe8")
	clientFrame(r)
}

// clientFrame reads a masked frame as "OPCODE payload".
func clientFrame(r *bufio.Reader) string {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil || head[1]&0x80 == 0 {
		return "no frame of a client"
	}
	n := int(head[1] & 0x7f)
	if n == 126 {
		long := make([]byte, 2)
		io.ReadFull(r, long)
		n = int(long[0])<<8 | int(long[1])
	}
	body := make([]byte, 4+n)
	io.ReadFull(r, body)
	for i := range n {
		body[4+i] ^= body[i%4]
	}
	return fmt.Sprintf("%d %s", head[0]&15, body[4:])
}

// TestTimerAsks: what has come with the answer to a timer's question is done though
// nothing comes after it.
func TestTimerAsks(t *testing.T) {
	h := serve(t, program(t, `
$worker = new Workerman\Worker('websocket://0.0.0.0:2346');
$worker->onConnect = function ($c) {};
$worker->onWorkerStart = function ($worker) {
    Workerman\Timer::add(0.01, function () use ($worker) { echo count($worker->connections), " are here\n"; }, [], false);
};
Workerman\Worker::runAll();`), "start")
	if got := h.next(); got != "ASK_OPENS 1" {
		t.Fatal(got)
	}
	h.event(script.Frame{Op: script.Answer, Conn: 1, Payload: []byte("{}")})
	h.want()
	h.says("0 are here")
}

// TestReplace: what would end the process for the sake of another asks for that one,
// and the callback goes on.
func TestReplace(t *testing.T) {
	const workerman = `
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:9601');
$w->onMessage = function ($c, $data) { %s; $c->send('goes on'); };
Worker::runAll();`
	const swoole = `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->on('message', function ($s, $f) { $s->push($f->fd, json_encode(%s)); });
$s->start();`
	const ratchet = `
class Chat extends Ratchet\Server\EchoServer {
    function onMessage(Ratchet\ConnectionInterface $c, $m) { Ratchet\Server\IoServer::$pushdMade[0]->loop->stop(); $c->send('goes on'); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), 9601)->run();`
	for code, says := range map[string]string{
		fmt.Sprintf(workerman, "Worker::stopAll(3, 'the log')"): "goes on",
		fmt.Sprintf(workerman, "Worker::reloadAllWorkers()"):    "goes on",
		fmt.Sprintf(swoole, "$s->reload()"):                     "true",
		fmt.Sprintf(swoole, "[$s->reload(true), $s->reload()]"): "[true,true]",
		fmt.Sprintf(swoole, "$s->stop()"):                       "true",
		ratchet:                                                 "goes on",
	} {
		h := serve(t, program(t, code), "start")
		h.open(script.Open, 1, "")
		h.message(1, "x")
		orders := slices.DeleteFunc(h.done(), func(o string) bool { return strings.HasPrefix(o, "HELD") })
		asked := slices.Index(orders, `CALL 0 {"what":"replace"}`)
		sent := slices.Index(orders, "SEND 1 "+says)
		if asked < 0 || sent < asked {
			t.Errorf("%s\n%q\n%s", code, orders, h.log)
		}
	}
}
