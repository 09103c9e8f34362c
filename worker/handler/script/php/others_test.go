package php_test

import (
	"fmt"
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
	p, _ = plan(t, program(t, `
new Ratchet\Server\IoServer(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Ratchet\Server\EchoServer)),
	new React\Socket\SecureServer(new React\Socket\Server('0.0.0.0:8443', React\EventLoop\Loop::get()), React\EventLoop\Loop::get(), ['local_cert' => 'c.pem', 'local_pk' => 'k.pem']));
React\EventLoop\Loop::run();`))
	if got := fmt.Sprint(p["groups"]); !strings.Contains(got, "cert:c.pem key:k.pem") {
		t.Errorf("a secure server: %v", p)
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
		{"192.0.2.2:5", "other", "ACCEPT/101 1"},
		{"192.0.2.2:5", "", "ACCEPT/101 1"},
		{"192.0.2.1:5", "wamp", "ACCEPT/403 1 Forbidden"},
	} {
		ask(x.remote, x.offers)
		h.want(x.want)
	}
	h.write(script.AppendOpen(nil, script.Open, 1, script.Opening{Remote: "192.0.2.2:5", Local: "websocket://0.0.0.0:8080", Target: "/"}))
	h.event(script.Frame{Op: script.Message, Conn: 1, Flags: script.Binary, Payload: []byte("\x01")})
	h.want("SEND 1 binary \x011", "SEND+1 1 \x01")
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
// there is instead.
func TestHints(t *testing.T) {
	for code, want := range map[string]string{
		`Co\run(function () {});`:                                                      "coroutines are not there",
		`Swoole\Coroutine\run(function () {});`:                                        "coroutines are not there",
		`go(function () {});`:                                                          "coroutines are not there",
		`new Swoole\Coroutine\Channel(1);`:                                             "coroutines are not there",
		`Swoole\Runtime::enableCoroutine();`:                                           "coroutines are not there",
		`Swoole\Coroutine::create('strlen');`:                                          "callbacks run one after the other",
		`new Swoole\Lock();`:                                                           "of Swoole there are",
		`new Swoole\Process(function () {});`:                                          "start.php:2",
		`new PHPSocketIO\SocketIO(2120);`:                                              "composer install",
		`new Workerman\WebServer('http://x:1');`:                                       "of Workerman 3",
		`require 'vendor/autoload.php';`:                                               "no package of composer",
		`new Ratchet\Session\SessionProvider(1);`:                                      "the session's cookie is in",
		`new Ratchet\Wamp\WampServer(1);`:                                              "topics are",
		`new Ratchet\Http\Router(1);`:                                                  "App::route() does it",
		`new Ratchet\Server\FlashPolicy;`:                                              "no Flash",
		`(new Workerman\Protocols\Http\Request("GET / HTTP/1.1\r\n\r\n"))->session();`: "composer require workerman/workerman",
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
	h.says("coroutines are not there")
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
