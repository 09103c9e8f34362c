package php_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestReact: a program that makes React's loop and socket itself, as the guides of
// Ratchet do, is served by $loop->run() too; its timers run.
func TestReact(t *testing.T) {
	for name, code := range map[string]string{
		"factory": `$loop = React\EventLoop\Factory::create();
			$server = new Ratchet\Server\IoServer(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Clock($loop))), new React\Socket\Server('0.0.0.0:8080', $loop), $loop);
			$loop->run();`,
		"listen": `$loop = React\EventLoop\Factory::create();
			$socket = new React\Socket\Server($loop);
			$server = new Ratchet\Server\IoServer(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Clock($loop))), $socket, $loop);
			$socket->listen(8080, '0.0.0.0');
			$loop->run();`,
		"loop": `$server = new Ratchet\Server\IoServer(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Clock(React\EventLoop\Loop::get()))), new React\Socket\SocketServer('0.0.0.0:8080'), React\EventLoop\Loop::get());
			$server->run();`,
	} {
		t.Run(name, func(t *testing.T) {
			file := program(t, `
class Clock extends Ratchet\Server\EchoServer {
    function __construct(React\EventLoop\LoopInterface $loop) {
        $n = 0;
        $loop->addPeriodicTimer(0.001, function (React\EventLoop\TimerInterface $timer) use ($loop, &$n) {
            if (++$n === 3) { $loop->cancelTimer($timer); Pushd\publish('x', "$n ticks"); }
        });
        React\EventLoop\Loop::futureTick(function () { echo "a tick\n"; });
    }
}
`+code)
			p, out := plan(t, file)
			if got := fmt.Sprint(p["groups"]); !strings.Contains(got, "[websocket://0.0.0.0:8080]") {
				t.Fatalf("%v\n%s", p, out)
			}
			h := serve(t, file, "start")
			h.says("a tick")
			if got := h.next(); got != "PUBLISH 0 x 3 ticks" {
				t.Errorf("%q", got)
			}
			h.open(script.Open, big, "")
			h.message(big, "hi")
			h.want(fmt.Sprint("SEND ", big, " hi"))
		})
	}
	p, _ := plan(t, program(t, `React\EventLoop\Loop::run();`))
	if got := fmt.Sprint(p["error"]); !strings.Contains(got, "this program has made none") {
		t.Error(got)
	}
	const nowhere = `$loop = React\EventLoop\Loop::get();
$socket = new React\Socket\Server($loop);
`
	const secure = `$socket = new React\Socket\SecureServer($socket, $loop, ['local_cert' => 'c.pem', 'local_pk' => 'k.pem']);
`
	const ipv6 = "listen:[websocket://[::1]:8443]"
	for _, x := range []struct{ name, code, key, want string }{
		{"secure", `$loop = React\EventLoop\Loop::get(); $socket = new React\Socket\Server('0.0.0.0:8443', $loop);` + secure, "groups", "cert:c.pem key:k.pem"},
		{"secure, as of old", nowhere + secure + `$socket->listen(8443, '::1');`, "groups", ipv6 + " name:start tls:map[cert:c.pem key:k.pem]"},
		{"secure, the inner one listens", nowhere + `$socket->listen(8443, '[::1]');` + secure, "groups", ipv6 + " name:start tls:map[cert:c.pem key:k.pem]"},
		{"nowhere", nowhere, "error", "listens nowhere"},
	} {
		p, _ := plan(t, program(t, x.code+`
new Ratchet\Server\IoServer(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Ratchet\Server\EchoServer)), $socket, $loop);
$loop->run();`))
		if got := fmt.Sprint(p[x.key]); !strings.Contains(got, x.want) {
			t.Errorf("%s: %v", x.name, p)
		}
	}
}

// TestRatchetComponents: sub-protocols are chosen, messages are objects where the
// component wants such, and addresses are blocked.
func TestRatchetComponents(t *testing.T) {
	h := serve(t, program(t, `
use Ratchet\ConnectionInterface;
class Speaks implements Ratchet\WebSocket\MessageComponentInterface, Ratchet\WebSocket\WsServerInterface {
    function getSubProtocols() { return ['soap', 'wamp']; }
    function onOpen(ConnectionInterface $c) {}
    function onMessage(ConnectionInterface $c, Ratchet\RFC6455\Messaging\MessageInterface $m) { $c->send(($m->isBinary() ? 'binary ' : 'text ') . $m->getPayload() . count($m)); $c->send($m); }
    function onClose(ConnectionInterface $c) {}
    function onError(ConnectionInterface $c, Exception $e) { echo $e->getMessage(); }
}
$list = new Ratchet\Server\IpBlackList(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Speaks)));
Ratchet\Server\IoServer::factory($list->blockAddress('192.0.2.1'), 8080)->run();`), "start")
	ask := func(remote, offers string) {
		head := "GET / HTTP/1.1\r\nHost: x\r\n"
		if offers != "" {
			head += "Sec-WebSocket-Protocol: " + offers + "\r\n"
		}
		h.write(script.AppendOpen(nil, script.Handshake, 1, script.Opening{Remote: remote, Local: "websocket://0.0.0.0:8080", Target: "/", Head: []byte(head + "\r\n")}))
	}
	for _, x := range []struct{ remote, offers, want string }{
		{"192.0.2.2:5", "other, wamp , soap", "ACCEPT/101 1 Sec-WebSocket-Protocol: wamp"},
		{"192.0.2.2:5", "other", "ACCEPT/426 1 No Sec-WebSocket-Protocols requested supported"},
		{"192.0.2.2:5", "", "ACCEPT/426 1 No Sec-WebSocket-Protocols requested supported"},
		{"192.0.2.1:5", "wamp", "ACCEPT/403 1 Forbidden"},
	} {
		ask(x.remote, x.offers)
		h.want(x.want)
	}
	h.write(script.AppendOpen(nil, script.Open, 1, script.Opening{Remote: "192.0.2.2:5", Local: "websocket://0.0.0.0:8080", Target: "/"}))
	h.event(script.Frame{Op: script.Message, Conn: 1, Flags: script.Binary, Payload: []byte("\x01")})
	h.want("SEND 1 binary \x011", "SEND+1 1 \x01")
}

// TestRatchetNoProtocols: who wants a sub-protocol is not let in by a component that has none,
// unless the server is not strict.
func TestRatchetNoProtocols(t *testing.T) {
	for _, x := range []struct{ strict, offers, want string }{
		{"", "Sec-WebSocket-Protocol: chat\r\n", "ACCEPT/426 1 No Sec-WebSocket-Protocols requested supported"},
		{"", "", "ACCEPT/101 1"},
		{"$ws->setStrictSubProtocolCheck(false);", "Sec-WebSocket-Protocol: chat\r\n", ""},
	} {
		h := serve(t, program(t, fmt.Sprintf(`
$ws = new Ratchet\WebSocket\WsServer(new Ratchet\Server\EchoServer);
%s
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer($ws), 8080)->run();`, x.strict)), "start")
		if asks := slices.Contains(h.welcome.Wants, script.WantHandshake); asks != (x.want != "") {
			t.Errorf("%q: asks about handshakes: %v", x.strict, asks)
		}
		if x.want != "" {
			h.openAt(script.Handshake, 1, "", "websocket://0.0.0.0:8080", "/", "GET / HTTP/1.1\r\nHost: x\r\n"+x.offers+"\r\n")
			h.want(x.want)
		}
	}
}

// TestRatchet03: what programs of Ratchet 0.3 ask of a handshake.
func TestRatchet03(t *testing.T) {
	h := serve(t, program(t, `
use Ratchet\ConnectionInterface;
class Old implements Ratchet\MessageComponentInterface {
    function onOpen(ConnectionInterface $c) { $c->token = $c->WebSocket->request->getQuery()->get('token'); }
    function onMessage(ConnectionInterface $c, $m) {
        $r = $c->WebSocket->request;
        parse_str($r->getQuery('data'), $data);
        $c->send(implode('|', [$c->token, $data['token'], explode('=', $r->getQuery())[1], $r->getQuery()->toArray()['token'], count($r->getQuery()), $r->getPath(), $r->getUrl(), $r->getHost(), $r->getMethod(),
            $r->getHeader('x-real-ip'), $r->getHeader('X-Real-IP') != '192.0.2.9' ? 'other' : 'it', $r->getHeader('None') ?? 'none', $r->getHeaders()['host'], $r->getCookies()['PHPSESSID'], $r->getCookie('b'), $r->getCookie('c') ?? 'none']));
    }
    function onClose(ConnectionInterface $c) {}
    function onError(ConnectionInterface $c, Exception $e) { echo $e->getMessage(); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Old)), 8080)->run();`), "start")
	h.openAt(script.Open, 1, "", "websocket://0.0.0.0:8080", "/chat?token=t1", "GET /chat?token=t1 HTTP/1.1\r\nHost: example.com:8080\r\nX-Real-IP: 192.0.2.9\r\nCookie: PHPSESSID=a%3D1; b=\"two\"\r\n\r\n")
	h.message(1, "what")
	h.want("SEND 1 t1|t1|t1|t1|1|/chat|http://example.com:8080/chat?token=t1|example.com|GET|192.0.2.9|it|none|example.com:8080|a%3D1|two|none", `SESSION 1 {"token":"t1"}`)
}

// TestSwooleServers: TLS is TLS, a server of HTTP has no WebSocket, and
// OpenSwoole's names are Swoole's.
func TestSwooleServers(t *testing.T) {
	p, _ := plan(t, program(t, `
$s = new OpenSwoole\WebSocket\Server('0.0.0.0', 9501, SWOOLE_PROCESS, SWOOLE_SOCK_TCP | SWOOLE_SSL);
$s->set(['ssl_cert_file' => 'c.pem', 'ssl_key_file' => 'k.pem']);
$s->on('message', function ($s, $f) {});
$s->listen('127.0.0.1', 9502, SWOOLE_SOCK_UDP)->on('packet', function () {});
$s->start();`))
	if got := fmt.Sprint(p["groups"]); !strings.Contains(got, "[websocket+tls://0.0.0.0:9501 udp://127.0.0.1:9502]") || !strings.Contains(got, "cert:c.pem key:k.pem") {
		t.Errorf("%v", p)
	}
	h := serve(t, program(t, `
$s = new Swoole\Http\Server('0.0.0.0', 9501);
$s->on('request', function ($request, $response) { $response->end('hi ' . $request->get['name']); });
$s->start();`), "start")
	if !slices.Contains(h.welcome.Wants, script.WantHandshake) {
		t.Errorf("a server without WebSocket is not asked before one is let in: %q", h.welcome.Wants)
	}
	raw := "GET /?name=al HTTP/1.1\r\nHost: example\r\n\r\n"
	h.write(append(script.AppendRequest(nil, 1, "192.0.2.1:5", "websocket://0.0.0.0:9501", len(raw)), raw...))
	h.openAt(script.Handshake, 2, "", "websocket://0.0.0.0:9501", "/", head)
	if got := strings.Join(h.done(), "|"); !strings.Contains(got, "hi al") || !strings.Contains(got, "ACCEPT/400 2") {
		t.Errorf("%q", got)
	}
}

// TestHints: what is not there is named where the program asks for it, with what
// there is instead: by a class, a method, a constant or a function.
func TestHints(t *testing.T) {
	hints := []struct{ code, want string }{
		{`new Swoole\Coroutine\MySQL;`, "clients of Swoole are not there"},
		{`new Co\Redis;`, "clients of Swoole are not there"},
		{`new Co\Http\Server('0.0.0.0', 80);`, `on("message") of Swoole\WebSocket\Server`},
		{`new Co\Server('0.0.0.0', 80);`, `on("receive") of Swoole\Server`},
		{`new Swoole\Redis\Server('0.0.0.0', 80);`, `on("receive") of Swoole\Server`},
		{`eval('namespace Workerman\Protocols\Http; class Mine {}'); (new Workerman\Protocols\Http\Mine)->x();`, ""},
		{`eval('namespace Workerman\Protocols\Http; class Own {}'); Workerman\Protocols\Http\Own::$x;`, ""},
		{`(new Swoole\Process('strlen'))->start();`, "addProcess() runs the function"},
		{`new Swoole\Process\Pool(1);`, "pushd starts the processes"},
		{`new Swoole\Client(SWOOLE_SOCK_TCP | SWOOLE_KEEP);`, "clients of Swoole are not there"},
		{`new swoole_http_client('x', 1);`, "clients of Swoole are not there"},
		{`new Swoole\Http2\Request();`, "of Swoole there are"},
		{`new OpenSwoole\Core\Psr\Request('/');`, "of Swoole there are"},
		{`(new Swoole\Http\Response)->upgrade();`, `on("message") of Swoole\WebSocket\Server`},
		{`(new Swoole\WebSocket\Server('0.0.0.0'))->addCommand(1);`, "pushd starts the processes"},
		{`Swoole\WebSocket\Server::pack('x');`, "push() frames what it sends"},
		{`(new Swoole\Server('0.0.0.0'))->heartbeat();`, "ping_interval"},
		{`(new Swoole\Atomic)->wait();`, "one process serves"},
		{`Swoole\Timer::info(1);`, "pushd's Swoole does not have it"},
		{`SWOOLE_HTTP2_TYPE_DATA;`, "pushd's Swoole does not have it"},
		{`swoole_async_readfile('x', 'y');`, "pushd's Swoole does not have it"},
		{`new PHPSocketIO\SocketIO(2120);`, "composer install"},
		{`new GlobalData\Client('127.0.0.1:2207');`, "composer install"},
		{`new Workerman\WebServer('http://x:1');`, "of Workerman 3"},
		{`new Workerman\Crontab\Crontab('* * * * *', 'strlen');`, "a package of its own"},
		{`new Workerman\Protocols\Http\Session(1);`, "composer require workerman/workerman"},
		{`Workerman\Protocols\Http::header('A: b');`, "composer require workerman/workerman"},
		{`(new Workerman\Protocols\Http\Request("GET / HTTP/1.1\r\n\r\n"))->session();`, "composer require workerman/workerman"},
		{`array_keys(Workerman\Connection\TcpConnection::$connections);`, "iterator_to_array() makes an array"},
		{`Workerman\Worker::$_pidMap;`, "processes and sockets are pushd's"},
		{`Workerman\Timer::signalHandle();`, "processes and sockets are pushd's"},
		{`new Ratchet\Session\SessionProvider(1);`, "the session's cookie is in"},
		{`new Ratchet\Wamp\WampServer(1);`, "topics are"},
		{`new Ratchet\Http\Router(1);`, "App::route() does it"},
		{`new Ratchet\Server\FlashPolicy;`, "no Flash"},
		{`Ratchet\Server\IoConnection::class::x();`, "of Ratchet there are"},
	}
	code := ""
	for _, x := range hints {
		code += fmt.Sprintf("try { eval(<<<'CODE'\n%s\nCODE); echo \"nothing\\n\"; } catch (Throwable $e) { echo strtok($e->getMessage(), \"\\n\"), Pushd\\Names::hint($e->getMessage()), \"\\n\"; }\n", x.code)
	}
	_, out := plan(t, program(t, code))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(hints) {
		t.Fatalf("%d answers to %d mistakes:\n%s", len(lines), len(hints), out)
	}
	for i, x := range hints {
		if !strings.Contains(lines[i], x.want) || x.want == "" && strings.Contains(lines[i], " (") {
			t.Errorf("%s\n%s", x.code, lines[i])
		}
	}
	for code, want := range map[string]string{ // as the terminal has it: once, and where
		`require 'vendor/autoload.php';`:       "no package of composer",
		`new Swoole\Process\Pool(1);`:          "start.php:2",
		`new Swoole\Coroutine\Http\Server(1);`: `on("message") of`,
	} {
		p, _ := plan(t, program(t, code))
		if got := fmt.Sprint(p["error"]); !strings.Contains(got, want) || strings.Count(got, " in /") != 1 {
			t.Errorf("%s\n%s", code, got)
		}
	}
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { go(function () {}); };
Workerman\Worker::runAll();`), "start")
	h.message(1, "x")
	h.done()
	h.says("in programs of Swoole")
}

// TestTwoIoServers: servers on one loop are served by one process, each with its own
// component, which may know the other's, as a push port beside the clients' does.
func TestTwoIoServers(t *testing.T) {
	const code = `
class Clients extends Ratchet\Server\EchoServer {
    public $all = [];
    function onOpen(Ratchet\ConnectionInterface $c) { $this->all[$c->resourceId] = $c; $c->send('clients'); }
}
class Push extends Ratchet\Server\EchoServer {
    private $clients;
    function __construct($clients) { $this->clients = $clients; }
    function onMessage(Ratchet\ConnectionInterface $from, $msg) { foreach ($this->clients->all as $c) $c->send("pushed $msg"); }
}
$loop = React\EventLoop\Factory::create();
$clients = new Clients;
$a = new Ratchet\Server\IoServer(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer($clients)), new React\Socket\Server('0.0.0.0:8080', $loop), $loop);
$b = new Ratchet\Server\IoServer(new Push($clients), new React\Socket\Server('127.0.0.1:5555', $loop), $loop);
`
	for name, run := range map[string]string{"loop": "$loop->run();", "server": "$a->run();"} {
		t.Run(name, func(t *testing.T) {
			file := program(t, code+run)
			p, out := plan(t, file)
			if got := fmt.Sprint(p["groups"]); !strings.Contains(got, "[websocket://0.0.0.0:8080 tcp://127.0.0.1:5555]") {
				t.Fatalf("%v\n%s", p, out)
			}
			h := serve(t, file, "start")
			h.openAt(script.Open, big, "", "websocket://0.0.0.0:8080", "/", head)
			h.openAt(script.Open, big+1, "", "tcp://127.0.0.1:5555", "", "")
			h.message(big+1, "news")
			orders := slices.DeleteFunc(h.done(), func(o string) bool { return strings.HasPrefix(o, "HELD+1 ") }) // when depends on how PHP has read
			if want := []string{fmt.Sprint("SEND ", big, " clients"), fmt.Sprint("SEND ", big, " pushed news")}; !slices.Equal(orders, want) {
				t.Errorf("got %q, want %q", orders, want)
			}
		})
	}
}

// TestRest is what programs ask of a connection that few do.
func TestRest(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    $c->send(json_encode([$c->bufferIsEmpty(), $c->getLocalIp(), $c->getLocalPort(), $c->getLocalAddress(), $c->getRemotePort(), $c->isIpV4(), $c->isIPv6(),
        $c->eventLoop === Worker::getEventLoop(), Workerman\Events\EventInterface::EV_READ, $c->getStatus(false)]));
    $a = new Workerman\Connection\AsyncTcpConnection('tcp://127.0.0.1:1');
    $a->proxySocks5 = '127.0.0.1:9';
    $a->onError = function ($a, $code, $text) use ($c) { $c->send("$code $text"); };
    $a->connect();
};
Worker::runAll();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want(`SEND 1 [true,"0.0.0.0",2346,"0.0.0.0:2346",40001,true,false,true,1,"ESTABLISHED"]`,
		"SEND 1 1 proxySocks5 is not supported by pushd: 127.0.0.1:1 is not connected to")
}

// TestErrorHandler: a connection's errorHandler has its mistakes, and it stays; one
// that throws itself is no help.
func TestErrorHandler(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) {
    $c->errorHandler = function (Throwable $e) use ($c) {
        $c->send('mistake: ' . $e->getMessage());
        if ($e->getMessage() === 'twice') throw new Exception('again');
    };
};
$w->onMessage = function ($c, $data) {
    $c->lingerTimeout = $c->lingerTimeout + 1;
    $c->websocketType = Workerman\Protocols\Websocket::BINARY_TYPE_BLOB === "\x81" ? Workerman\Protocols\Ws::BINARY_TYPE_ARRAYBUFFER : '';
    $response = (new Workerman\Protocols\Http\Response())->withStatus(418, 'Teapot');
    if ($data === 'names') { $c->send($c->lingerTimeout . $response->getReasonPhrase() . $response::PHRASES[418]); return; }
    if ($data === 'no') { $c->noSuchThing(); return; }
    throw new Exception($data);
};
Worker::runAll();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "names")
	h.message(1, "once")
	h.message(1, "no")
	orders := slices.DeleteFunc(h.done(), func(o string) bool { return strings.HasPrefix(o, "HELD") || strings.HasPrefix(o, "SESSION") })
	want := []string{"SEND+1 1 2TeapotI'm a teapot", "SEND+1 1 mistake: once", "SEND+1 1 mistake: Call to undefined method Workerman\\Connection\\TcpConnection::noSuchThing()"}
	if !slices.Equal(orders, want) {
		t.Errorf("got %q, want %q\n%s", orders, want, h.log)
	}
	h.message(1, "twice")
	if got := h.done(); !slices.Contains(got, "END/1011 1 internal error") {
		t.Errorf("%q", got)
	}
	h.says("uncaught Exception: again")
	h.says("uncaught Exception: twice")
}

// TestSwooleNames is what tutorials name of Swoole beside its servers.
func TestSwooleNames(t *testing.T) {
	h := serve(t, program(t, `
use Swoole\Constant;
$s = new swoole_websocket_server('0.0.0.0', 9501);
$s->set([Constant::OPTION_WORKER_NUM => swoole_cpu_num() * 2, 'dispatch_mode' => SWOOLE_DISPATCH_UIDMOD, 'log_level' => SWOOLE_LOG_WARNING,
    'log_rotation' => SWOOLE_LOG_ROTATION_DAILY, 'hook_flags' => SWOOLE_HOOK_ALL, 'task_enable_coroutine' => true, 'task_worker_num' => 1]);
$s->on(Constant::EVENT_MANAGER_START, function ($s) { echo "manager starts\n"; });
$s->on(Constant::EVENT_WORKER_EXIT, function () {});
$lock = new Swoole\Lock(SWOOLE_MUTEX);
$count = new Swoole\Atomic\Long(1);
$pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
$s->on('task', function ($s, Swoole\Server\Task $task) { $task->finish("$task->id $task->data"); });
$s->on('finish', function ($s, $id, $data) { Pushd\publish('x', "finished $id $data"); });
$s->on(Constant::EVENT_MESSAGE, function (Swoole\WebSocket\Server $s, Swoole\WebSocket\Frame $f) use ($lock, $count, $pair) {
    if ($f->data === 'task') { $s->task('later'); return; }
    if ($f->data === 'read') {
        Swoole\Event::add($pair[0], function ($stream) use ($s, $f) { $s->push($f->fd, fgets($stream)); Swoole\Event::del($stream); });
        fwrite($pair[1], "a line\n");
        return;
    }
    $timer = swoole_timer_tick(60000, function () {});
    $s->push($f->fd, json_encode([$lock->trylock(), $lock->unlock(), $count->add(2), $s->taskwait('now'), $s->taskCo(['a', 'b']), swoole_timer_exists($timer),
        swoole_timer_clear($timer), swoole_timer_exists($timer), WEBSOCKET_CLOSE_NORMAL, SWOOLE_WEBSOCKET_OPCODE_PING, count($s->connection_list()), $s->protect($f->fd)]));
});
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want(`SEND 1 [true,true,3,"0 now",["1 a","2 b"],true,true,false,1000,9,1,true]`)
	h.message(1, "task")
	got := h.done() // it comes after the batch, or before its end
	if len(got) == 0 {
		got = append(got, h.next())
	}
	if !slices.Equal(got, []string{"PUBLISH 0 x finished 3 3 later"}) {
		t.Errorf("got %q", got)
	}
	h.message(1, "read")
	got = h.done()
	if len(got) == 0 {
		got = append(got, h.next())
	}
	if !slices.Equal(got, []string{"SEND 1 a line"}) {
		t.Errorf("got %q", got)
	}
	h.says("manager starts")
	h.says("on('workerexit') is not called")
}

// TestSwooleConstants: all that a set() may have is there, by the names of Swoole and of OpenSwoole, with their values.
func TestSwooleConstants(t *testing.T) {
	p, out := plan(t, program(t, `
use OpenSwoole\Constant;
$s = new OpenSwoole\WebSocket\Server('0.0.0.0', 9501);
$s->set(['log_rotation' => Constant::LOG_ROTATION_DAILY, 'trace_flags' => Constant::TRACE_ALL, 'ssl_protocols' => Constant::SSL_TLSv1_3 | Constant::SSL_TLSv1_2]);
$s->on('message', function () {});
$got = [Constant::LOG_ROTATION_EVERY_MINUTE, Constant::TRACE_CARES, Constant::TLSv1_2_SERVER_METHOD, Constant::UNIX_DGRAM, Constant::OPTION_REACTOR_TYPE,
    SWOOLE_LOG_ROTATION_MONTHLY, SWOOLE_TRACE_ALL, SWOOLE_TRACE_CO_SQLITE, SWOOLE_HOOK_STREAM_SELECT, SWOOLE_HOOK_PDO_SQLITE, SWOOLE_HOOK_ALL, SWOOLE_DISPATCH_CONCURRENT_LB,
    SWOOLE_DISPATCH_RESULT_CLOSE_CONNECTION, SWOOLE_TASK_NOREPLY, SWOOLE_SSLv23_CLIENT_METHOD, SWOOLE_TLSv1_1_METHOD, SWOOLE_SSL_DTLS, SWOOLE_IPC_SOCKET, SWOOLE_CORO_END, SWOOLE_EXIT_IN_SERVER,
    OPENSWOOLE_LOG_INFO, OPENSWOOLE_HOOK_ALL, OpenSwoole\Server::TASK_COROUTINE, OpenSwoole\Server::IPC_MSGQUEUE, OpenSwoole\WebSocket\Server::WEBSOCKET_OPCODE_PONG, OpenSwoole\Lock::MUTEX];
$want = [4, 1073741824, 13, 6, 'reactor_type', 1, PHP_INT_MAX, 34359738368, 128, 524288, 2147481599, 10, -2, 128, 5, 9, 128, 3, 3, 4, 2, 2147481599, 32, 2, 10, 3];
if (PHP_VERSION_ID >= 80100) {
    $got[] = OpenSwoole\Runtime::HOOK_NATIVE_CURL;
    $want[] = 4096;
}
if ($got !== $want) {
    exit(json_encode($got));
}
$s->start();`))
	if got := fmt.Sprint(p["groups"]); !strings.Contains(got, "[websocket://0.0.0.0:9501]") {
		t.Errorf("%v\n%s", p, out)
	}
}

// TestSwooleServerAsJSON: it has the public properties, of the program's own too, and its ports theirs.
func TestSwooleServerAsJSON(t *testing.T) {
	h := serve(t, program(t, `
class Chat extends Swoole\WebSocket\Server { public $room = 'hall'; protected $secret = 1; }
$s = new Chat('0.0.0.0', 9501);
$s->listen('127.0.0.1', 9502, SWOOLE_SOCK_TCP);
$s->set(['worker_num' => 2]);
$s->on('message', function ($s, $frame) {
    $got = json_decode(json_encode($s), true);
    $ports = array_map(function ($port) { return $port['port'] . (isset($port['ports']) ? ' and ports' : ''); }, $got['ports']);
    $s->push($frame->fd, json_encode([$got['host'], $got['port'], $got['setting'], $got['room'], $ports, array_values(preg_grep('/pushd|secret/', array_keys($got)))]));
});
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want(`SEND 1 ["0.0.0.0",9501,{"worker_num":2},"hall",["9501","9502"],[]]`)
}

// TestOpenSwoole is a server as OpenSwoole's guide has it, by named arguments in PHP 8.
func TestOpenSwoole(t *testing.T) {
	const code = `
use OpenSwoole\WebSocket\{Frame, Server};
use OpenSwoole\Constant;
use OpenSwoole\Http\Request;
use OpenSwoole\Table;
$server = new Server(%s);
$names = new Table(1024);
$names->column('name', Table::TYPE_STRING, 16);
$names->create();
$server->on('Open', function (Server $server, Request $request) use ($names) {
    $names->set((string)$request->fd, ['name' => "client {$request->fd}"]);
    foreach ($names as $key => $value) $server->push((int)$key, $value['name'] . ' joined');
});
$server->on('Message', function (Server $server, Frame $frame) use ($names) { $server->push($frame->fd, $names->get((string)$frame->fd, 'name')); });
$server->start();`
	args := []string{`"0.0.0.0", 9501, Server::SIMPLE_MODE, Constant::SOCK_TCP | Constant::SSL`}
	if out, err := exec.Command("php", "-r", "echo PHP_MAJOR_VERSION;").Output(); err == nil && string(out) != "7" {
		args = append(args, `host: "0.0.0.0", port: 9501, mode: Server::SIMPLE_MODE, sockType: Constant::SOCK_TCP | Constant::SSL`)
	}
	for _, a := range args {
		file := program(t, fmt.Sprintf(code, a))
		if p, out := plan(t, file); !strings.Contains(fmt.Sprint(p["groups"]), "[websocket+tls://0.0.0.0:9501]") {
			t.Errorf("%v\n%s", p, out)
		}
		h := serve(t, file, "start")
		h.open(script.Open, 7, "")
		h.message(7, "x")
		h.want("SEND 7 client 7 joined", "SEND 7 client 7")
	}
}

// TestSwooleTypes: arguments have the names of Swoole 1 for types, as old tutorials do.
func TestSwooleTypes(t *testing.T) {
	h := serve(t, program(t, `
$server = new swoole_websocket_server('0.0.0.0', 9501);
$server->on('open', function (swoole_websocket_server $server, swoole_http_request $request) { $server->push($request->fd, 'hello'); });
$server->on('message', function (swoole_server $server, swoole_websocket_frame $frame) { $server->push($frame->fd, $frame->data); });
$server->start();`), "start")
	h.open(script.Open, 7, "")
	h.message(7, "x")
	h.want("SEND 7 hello", "SEND 7 x")
}

// TestSwooleHandshake: on("handshake") decides who gets in, and on("open") is not
// called; who only adds headers to the answer has both.
func TestSwooleHandshake(t *testing.T) {
	ask := func(h *host, id uint64, target string) {
		h.openAt(script.Handshake, id, "", "websocket://0.0.0.0:9501", target, "GET "+target+" HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, b\r\nCookie: name=al\r\n\r\n")
	}
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->on('open', function ($s, $request) { $s->push($request->fd, 'open'); });
$s->on('handshake', function (Swoole\Http\Request $request, Swoole\Http\Response $response) use ($s) {
    switch ($request->get['token'] ?? '') {
        case 'boom': throw new Exception('in the handshake');
        case 'slow': $response->status(429); $response->header('Retry-After', '7'); $response->end('later'); return false;
        case 'false': $response->status(101); $response->end(); return false;
        case 'good': break;
        default: $response->status(401); $response->end('who are you?'); return false;
    }
    $response->header('Upgrade', 'websocket');
    $response->header('Sec-WebSocket-Accept', base64_encode(sha1($request->header['sec-websocket-key'] . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11', true)));
    $response->header('Sec-WebSocket-Protocol', 'b');
    $response->cookie('seen', '1');
    $response->status(101);
    $response->end();
    $s->defer(function () use ($s, $request) { $s->push($request->fd, 'hello ' . $request->cookie['name']); });
    return true;
});
$s->on('message', function ($s, $f) { $s->push($f->fd, $f->data); });
$s->start();`), "start")
	ask(h, 1, "/?token=bad")
	h.want("ACCEPT/401 1 who are you?")
	ask(h, 1, "/")
	h.want("ACCEPT/401 1 who are you?")
	ask(h, 1, "/?token=false")
	h.want("ACCEPT/403 1 Forbidden")
	ask(h, 1, "/?token=slow")
	h.want("ACCEPT+1/429 1 HTTP/1.1 429\r\nRetry-After: 7\r\n\r\nlater")
	ask(h, 1, "/?token=boom")
	h.want("ACCEPT/500 1 Forbidden")
	h.says("in the handshake")
	ask(h, 2, "/?token=good")
	h.openAt(script.Open, 2, "", "websocket://0.0.0.0:9501", "/?token=good", head)
	h.message(2, "x")
	orders := h.done()
	if len(orders) < 3 {
		orders = append(orders, h.next()) // deferred
	}
	slices.Sort(orders[1:])
	if want := []string{"ACCEPT/101 2 Sec-WebSocket-Protocol: b\r\nSet-Cookie: seen=1; Path=/", "SEND 2 hello al", "SEND 2 x"}; !slices.Equal(orders, want) {
		t.Errorf("got %q, want %q", orders, want)
	}

	adds := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->on('beforeHandshakeResponse', function ($s, $request, $response) { $response->header('X-Path', $request->server['request_uri']); });
$s->on('open', function ($s, $request) { $s->push($request->fd, 'open'); });
$s->on('message', function ($s, $f) {});
$s->start();`), "start")
	ask(adds, 1, "/chat")
	adds.openAt(script.Open, 1, "", "websocket://0.0.0.0:9501", "/chat", head)
	adds.want("ACCEPT/101 1 X-Path: /chat", "SEND 1 open")

	for spoken, line := range map[string]string{"b": " Sec-WebSocket-Protocol: b", "c": ""} {
		speaks := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->set(['websocket_subprotocol' => '`+spoken+`']);
$s->on('message', function ($s, $f) {});
$s->start();`), "start")
		ask(speaks, 1, "/chat")
		speaks.want("ACCEPT/101 1" + line)
	}
}

// TestSwooleStatic: files below document_root, and nothing else of the disk.
func TestSwooleStatic(t *testing.T) {
	file := program(t, `
$s = new Swoole\WebSocket\Server('0.0.0.0', 9501);
$s->set(['enable_static_handler' => true, 'document_root' => __DIR__ . '/public', 'http_index_files' => ['index.html']]);
swoole_mime_type_add('cast', swoole_mime_type_add('js', 'x/y') || swoole_mime_type_exists('a.cast') ? 'x/y' : 'application/x-asciicast');
swoole_mime_type_set('mp3', 'audio/x-mp3');
swoole_mime_type_delete('png');
$s->on('message', function ($s, $f) {});
$s->start();`)
	dir := filepath.Dir(file)
	must(t, os.MkdirAll(filepath.Join(dir, "public", "sub"), 0o755))
	for name, text := range map[string]string{"secret.txt": "secret", "public/index.html": "<p>", "public/a b.js": "js", "public/a.cast": "c", "public/a.mp3": "m", "public/a.png": "p", "public/x.php": "<?php", "public/.env": "key"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	must(t, os.Symlink(filepath.Join(dir, "secret.txt"), filepath.Join(dir, "public", "link.txt")))
	h := serve(t, file, "start")
	get := func(target, more string) string {
		t.Helper()
		raw := target + " HTTP/1.1\r\nHost: example\r\n" + more + "\r\n"
		h.write(append(script.AppendRequest(nil, 1, "192.0.2.1:5", "websocket://0.0.0.0:9501", len(raw)), raw...))
		return strings.Join(h.done(), "|")
	}
	page := get("GET /", "")
	_, changed, _ := strings.Cut(page, "Last-Modified: ")
	changed, _, _ = strings.Cut(changed, "\r\n")
	for _, x := range []struct{ target, more, status, words string }{
		{"GET /", "", "200", "Content-Type: text/html\r\n\r\n<p>"},
		{"GET /index.html?v=1", "", "200", "<p>"},
		{"GET /a%20b.js", "", "200", "text/javascript\r\n\r\njs"},
		{"GET /a.cast", "", "200", "application/x-asciicast\r\n\r\nc"},
		{"GET /a.mp3", "", "200", "audio/x-mp3\r\n\r\nm"},
		{"GET /a.png", "", "200", "application/octet-stream\r\n\r\np"},
		{"GET /", "If-Modified-Since: " + changed + "\r\n", "304", ""},
		{"POST /index.html", "", "404", ""},
		{"GET /sub", "", "404", ""},
		{"GET /x.php", "", "404", ""},
		{"GET /.env", "", "404", ""},
		{"GET /link.txt", "", "404", ""},
		{"GET /../secret.txt", "", "404", ""},
		{"GET /sub/..%2f..%2fsecret.txt", "", "404", ""},
		{"GET /%00", "", "404", ""},
		{"GET /nothing", "", "404", ""},
	} {
		got := get(x.target, x.more)
		if !strings.HasPrefix(got, "RESPOND 1 HTTP/1.1 "+x.status) || !strings.Contains(got, x.words) || strings.Contains(got, "secret") {
			t.Errorf("%s: %q, want %s %q", x.target, got, x.status, x.words)
		}
	}
}
