package php_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const big = 1 << 40 // numbers of connections are drawn from 2^53

func TestRatchet(t *testing.T) {
	file := program(t, chatRatchet+`Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), 8080)->run();`)
	h := serve(t, file, "start")
	for id := uint64(big); id < big+3; id++ {
		h.open(script.Open, id, "")
	}
	if got := len(h.done()); got != 3 { // HELD
		t.Errorf("%d orders", got)
	}
	h.message(big, "hi")
	h.want("MANY 0 1099511627777 1099511627778 hi")
	h.message(big, "who")
	h.want("SEND 1099511627776 192.0.2.1 token=t1 http://example.org")
	h.message(big+1, "name")
	h.want(`SESSION 1099511627777 {"tag":"y"}`)
	h.message(big+2, "throw")
	h.want("END/1000 1099511627778")
	h.says("An error has occurred: a mistake")
	h.closed(big + 2)
	h.want()
	h.says("gone 1099511627778")
	h.open(script.Open, big+3, "")
	h.message(big+3, "type")
	h.want("END/1000 1099511627779")
	h.says("ArgumentCountError")
	_, carried := h.stop(script.Successor)

	_, data, err := script.ParseCarry(carried)
	must(t, err)
	h = serve(t, file, "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{big, big + 1}, data))
	h.open(script.Resume, big, "")
	h.open(script.Resume, big+1, `{"tag":"y"}`)
	h.done()
	h.message(big+1, "names")
	h.want(`SEND 1099511627777 {"1099511627777":"x"}y`)
	h.message(big+1, "hi")
	h.want("SEND 1099511627776 hi")
}

func TestRatchetApp(t *testing.T) {
	h := serve(t, program(t, chatRatchet+`
$app = new Ratchet\App('localhost', 8080);
$app->route('/chat', new Chat, ['*']);
$app->route('/echo', new Ratchet\Server\EchoServer, ['example.com', 'localhost']);
$app->route('/user/{name}', new Ratchet\Server\EchoServer);
$app->run();`), "start")
	if !strings.Contains(strings.Join(h.welcome.Wants, ","), script.WantHandshake) {
		t.Fatalf("wants %q", h.welcome.Wants)
	}
	for _, x := range []struct{ path, origin, want string }{
		{"/chat", "http://evil.example", "ACCEPT/101 1"},
		{"/echo", "http://localhost:3000", "ACCEPT/101 1"},
		{"/echo", "http://evil.example", "ACCEPT/403 1 Forbidden"},
		{"/echo", "http://localhost.evil.example", "ACCEPT/403 1 Forbidden"},
		{"/echo", "null", "ACCEPT/403 1 Forbidden"},
		{"/echo", "", "ACCEPT/101 1"},
		{"/user/ann?x=1", "http://localhost", "ACCEPT/101 1"},
		{"/user/ann", "http://example.com", "ACCEPT/403 1 Forbidden"},
		{"/user/", "", "ACCEPT/404 1 Not Found"},
		{"/echo/more", "", "ACCEPT/404 1 Not Found"},
		{"/", "", "ACCEPT/404 1 Not Found"},
	} {
		head := "GET " + x.path + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
		if x.origin != "" {
			head += "Origin: " + x.origin + "\r\n"
		}
		h.openAt(script.Handshake, 1, "", "websocket://127.0.0.1:8080", x.path, head+"\r\n")
		h.want(x.want)
	}
	h.openAt(script.Open, 5, "", "websocket://127.0.0.1:8080", "/echo", "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")
	h.message(5, "hello")
	h.event(script.Frame{Op: script.Message, Flags: script.Binary, Conn: 5, Payload: []byte("\x00\xff")})
	h.want("SEND 5 hello", "SEND+1 5 \x00\xff")
}

func TestSwoole(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server("0.0.0.0", 9501);
$s->addlistener("127.0.0.1", 9502, SWOOLE_SOCK_UDP);
$tcp = $s->listen("127.0.0.1", 9503, SWOOLE_SOCK_TCP);
$tcp->on('receive', function ($s, $fd, $reactor, $data) { $s->send($fd, "tcp $data"); });
$s->set(['worker_num' => 4, 'task_worker_num' => 2, 'no_such_thing' => 1, 'heartbeat_idle_time' => 600]);
$s->on('Open', function ($s, $r) { $s->push($r->fd, "hello {$r->get['token']} {$r->header['host']} {$r->server['remote_addr']} {$r->server['request_uri']}"); });
$s->on('MESSAGE', function ($s, $f) {
    if ($f->data === 'all') { foreach ($s->connections as $fd) if ($s->isEstablished($fd)) $s->push($fd, 'all'); return; }
    if ($f->data === 'task') { $s->task(['fd' => $f->fd]); return; }
    if ($f->data === 'later') { $s->after(1, function () use ($s, $f) { $s->push($f->fd, 'later'); }); return; }
    if ($f->data === 'bye') { $s->disconnect($f->fd, 4000, 'bye'); return; }
    $s->push($f->fd, "$f->opcode $f->data", $f->opcode);
});
$s->on('task', function ($s, $id, $from, $data) { $s->push($data['fd'], "task $id"); return 'done'; });
$s->on('finish', function ($s, $id, $data) { echo "finished $id $data\n"; });
$s->on('close', function ($s, $fd) { echo "client {$fd} closed ", var_export($s->push($fd, 'x'), true), "\n"; });
$s->on('packet', function ($s, $data, $from) { $s->sendto($from['address'], $from['port'], "udp $data"); });
$s->on('request', function ($request, $response) { $response->header('X-A', 'b'); $response->end('page ' . $request->server['request_uri']); });
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.want("SEND 1 hello t1 example.org 192.0.2.1 /chat")
	h.open(script.Open, 2, "")
	h.done()
	h.openAt(script.Open, 3, "", "tcp://127.0.0.1:9503", "", "")
	h.message(3, "x")
	h.want("SEND 3 tcp x")
	h.event(script.Frame{Op: script.Message, Flags: script.Binary, Conn: 1, Payload: []byte("\xff")})
	h.want("SEND+1 1 2 \xff")
	h.message(1, "all")
	h.want("MANY 0 1 2 all")
	h.message(1, "task")
	h.message(1, "later")
	got := h.done() // both come after it, or before
	for len(got) < 2 {
		got = append(got, h.next())
	}
	if !slices.Equal(got, []string{"SEND 1 task 0", "SEND 1 later"}) {
		t.Errorf("got %q", got)
	}
	h.says("finished 0 done")
	h.message(2, "bye")
	h.want("END/4000 2 bye")
	h.closed(1)
	h.want()
	h.says("client 1 closed false")
	h.write(script.AppendPacket(nil, script.Packet, "192.0.2.1:99", "udp://127.0.0.1:9502", []byte("hi")))
	h.want("REPLY 0 192.0.2.1:99 udp://127.0.0.1:9502 udp hi")
	h.write(append(script.AppendRequest(nil, 77, "192.0.2.1:1", "websocket://0.0.0.0:9501", len("GET /p HTTP/1.1\r\nHost: x\r\n\r\n")), "GET /p HTTP/1.1\r\nHost: x\r\n\r\n"...))
	h.want("RESPOND 77 HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-A: b\r\n\r\npage /p")
	h.says("keys of set() that do nothing here: worker_num, task_worker_num (one PHP process serves all connections); no_such_thing (not known); heartbeat_idle_time (pushd pings")
}
