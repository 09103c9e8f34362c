package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const ratchetApp = `
namespace Ratchet\RFC6455\Messaging { // as of the package that Ratchet brings along
    class Frame {
        private $data, $op;
        function __construct($data, $final = true, $op = 1) { $this->data = $data; $this->op = $op; }
        function getOpcode() { return $this->op; }
        function __toString() { return $this->data; }
    }
}
namespace Ratchet\Wamp { // the same
    interface WampServerInterface extends \Ratchet\ComponentInterface {}
    class WampServer extends \Ratchet\Server\EchoServer {
        private $app;
        function __construct(WampServerInterface $app) { $this->app = $app; }
        function onMessage(\Ratchet\ConnectionInterface $c, $m) { $c->send($this->app->onCall($m)); }
    }
}
namespace {
    use Ratchet\ConnectionInterface;
    use Ratchet\RFC6455\Messaging\Frame;
    class Room extends Ratchet\Server\EchoServer {
        function onMessage(ConnectionInterface $c, $m) {
            if ($m === 'frames') { $c->send(new Frame('ping', true, 9)); $c->send(new Frame('bytes', true, 2)); }
            if ($m === 'query') $c->send($c->httpRequest->getUri()->getQuery());
            if ($m === 'bye') $c->close(new Frame(pack('n', 4005) . 'go away', true, 8));
        }
    }
    class Page implements Ratchet\Http\HttpServerInterface {
        function onOpen(ConnectionInterface $c, $r = null) {
            $c->send("HTTP/1.1 200 OK\r\n\r\n");
            if ($r->getMethod() === 'GET') { $c->send($r->getUri()->getQuery()); $c->close(); } else $c->send('more of ' . $r->getBody());
        }
        function onMessage(ConnectionInterface $c, $m) {}
        function onClose(ConnectionInterface $c) { Pushd\publish('x', 'closed ' . Ratchet\VERSION); }
        function onError(ConnectionInterface $c, Exception $e) {}
    }
    class Calls extends Ratchet\Server\EchoServer implements Ratchet\Wamp\WampServerInterface {
        function onCall($m) { return "called $m"; }
    }
    $app = new Ratchet\App('localhost', 8080);
    $app->route('/calls', new Calls, ['*']);
    $app->route('/room/{room}', new Room, ['*']);
    $app->route('/page/{name}', new Page, ['*']);
    $app->run();
}`

// TestRatchetRoutes: parameters of a route stand in the query, frames are what they say they
// are, a component of WAMP is in the WampServer of the program's own Ratchet, and one of HTTP
// answers requests.
func TestRatchetRoutes(t *testing.T) {
	h := serve(t, program(t, ratchetApp), "start")
	if !slices.Contains(h.welcome.Wants, script.WantRequest) {
		t.Errorf("wants %q", h.welcome.Wants)
	}
	h.openAt(script.Open, 1, "", "websocket://127.0.0.1:8080", "/room/a%20b?x=1", "GET /room/a%20b?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	h.message(1, "query")
	h.want("SEND 1 room=a%20b&x=1")
	h.message(1, "frames")
	h.want("SEND+1 1 bytes")
	h.message(1, "bye")
	h.want("END/4005 1 go away")
	h.openAt(script.Open, 7, "", "websocket://127.0.0.1:8080", "/calls", "GET /calls HTTP/1.1\r\nHost: x\r\n\r\n")
	h.message(7, "x")
	h.want("SEND 7 called x")
	request := func(id uint64, raw string) {
		h.write(append(script.AppendRequest(nil, id, "192.0.2.1:5", "websocket://127.0.0.1:8080", len(raw)), raw...))
	}
	request(2, "GET /page/news HTTP/1.1\r\nHost: x\r\n\r\n")
	h.want("RESPOND 2 HTTP/1.1 200 OK\r\n\r\nname=news", "PUBLISH 0 x closed Ratchet/0.4.4")
	request(3, "POST /page/news HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
	h.want("RESPOND+1 3 HTTP/1.1 200 OK\r\n\r\nmore of hi")
	h.closed(3)
	h.want("PUBLISH 0 x closed Ratchet/0.4.4")
	request(4, "GET /room/a HTTP/1.1\r\nHost: x\r\n\r\n")
	h.want("RESPOND 4 HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\nthis path speaks WebSocket")
	request(5, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
	h.want("RESPOND 5 HTTP/1.1 404 Not Found\r\nContent-Type: text/plain")
	h.openAt(script.Handshake, 6, "", "websocket://127.0.0.1:8080", "/page/x", "GET /page/x HTTP/1.1\r\nHost: x\r\n\r\n")
	h.want("ACCEPT/400 6 there is no WebSocket here")
}

// TestRatchetHeads: what a client's handshake said is known after a reload and after an
// `exit`, to all code that may ask for it, and is not carried where none does.
func TestRatchetHeads(t *testing.T) {
	const whole, bare = "GET /a HTTP/1.1\r\nHost: x.test\r\nAuthorization: Bearer abc\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n"
	const what = "SEND 1 Bearer abc at x.test"
	for _, x := range []struct {
		name, ask string
		asks      bool // before the process is replaced
		exits     bool
		want      string
	}{
		{name: "reload", ask: `$c->httpRequest->getHeaderLine('Authorization') . ' at ' . $c->httpRequest->getUri()->getHost()`, want: what},
		{name: "exit", ask: `$c->httpRequest->getHeaderLine('Authorization') . ' at ' . $c->httpRequest->getUri()->getHost()`, exits: true, want: what},
		{name: "of Ratchet 0.3", ask: `$c->WebSocket->request->getHeader('Authorization') . ' at ' . $c->WebSocket->request->getHost()`, want: what},
		{name: "in a file that is loaded later", ask: `eval('return $c->http' . 'Request->getHeaderLine("Authorization") . " at x.test";')`, asks: true, want: what},
		{name: "nobody asks", ask: `'nothing'`, want: "SEND 1 nothing"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			file := program(t, `
class Room extends Ratchet\Server\EchoServer {
    function onMessage(Ratchet\ConnectionInterface $c, $m) { $m === 'exit' ? exit : $c->send(`+x.ask+`); }
}
$app = new Ratchet\App('localhost', 8080);
$app->route('/a', new Ratchet\Server\EchoServer, ['*'], 'y.test');
$app->route('/a', new Room, ['*'], 'x.test');
$app->run();`)
			h := serve(t, file, "start")
			if !slices.Contains(h.welcome.Wants, script.WantHead) {
				t.Errorf("wants %q: the Host says which route it is", h.welcome.Wants)
			}
			h.openAt(script.Open, 1, "", "websocket://127.0.0.1:8080", "/a", whole)
			if x.asks {
				h.message(1, "x")
				h.want(x.want)
			}
			for range 2 { // the second time nobody has asked in between
				if x.exits {
					h.openAt(script.Open, 2, "", "websocket://127.0.0.1:8080", "/a", whole)
					h.message(2, "exit")
				}
				_, carried := h.stop(script.Successor)
				if x.want != what {
					if carried != nil {
						t.Errorf("carried: %q", carried)
					}
					return
				}
				_, data, err := script.ParseCarry(carried)
				must(t, err)
				h = serve(t, file, "start")
				h.write(script.AppendCarry(nil, script.Carried, nil, data))
				h.openAt(script.Resume, 1, "", "websocket://127.0.0.1:8080", "/a", bare)
			}
			h.message(1, "x")
			h.want(x.want)
		})
	}
}

const ratchetAround = `
use Ratchet\ConnectionInterface;
use Ratchet\Http\HttpServerInterface;
use Psr\Http\Message\RequestInterface;
class Around implements HttpServerInterface {
    protected $next; public $users;
    function __construct(HttpServerInterface $next) { $this->next = $next; $this->users = new SplObjectStorage; }
    function onOpen(ConnectionInterface $conn, RequestInterface $request = null) {
        parse_str($request->getUri()->getQuery(), $q);
        switch ($q['token'] ?? '') {
            case 'no': $conn->send("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n"); $conn->send('sign in'); $conn->close(); return;
            case 'throw': throw new Exception('a mistake');
            case 'later': $conn->user = 'late'; Ratchet\Server\IoServer::$pushdMade[0]->loop->addTimer(0.001, function () use ($conn, $request) { $this->next->onOpen($conn, $request); }); return;
            case 'never': Ratchet\Server\IoServer::$pushdMade[0]->loop->addTimer(0.001, function () use ($conn) { $conn->close(); }); return;
        }
        $conn->user = $q['token'] ?? 'nobody';
        Pushd\bind($conn, $conn->user);
        $this->users[$conn] = 1;
        $this->next->onOpen($conn, $request);
    }
    function onMessage(ConnectionInterface $from, $msg) { $this->next->onMessage($from, "$from->user: $msg " . count($this->users)); }
    function onClose(ConnectionInterface $conn) { Pushd\publish('x', 'around hears of the end'); unset($this->users[$conn]); $this->next->onClose($conn); }
    function onError(ConnectionInterface $conn, Exception $e) { Pushd\publish('x', $e->getMessage()); $this->next->onError($conn, $e); }
}
class Chat implements Ratchet\MessageComponentInterface, Ratchet\WebSocket\WsServerInterface {
    public $clients = [];
    function getSubProtocols() { return ['chat']; }
    function onOpen(ConnectionInterface $c) { $this->clients[$c->resourceId] = $c; $c->send('in'); if ($c->user === 'bad') throw new Exception('bad'); }
    function onMessage(ConnectionInterface $c, $m) { $c->send($m . ' of ' . count($this->clients)); }
    function onClose(ConnectionInterface $c) { unset($this->clients[$c->resourceId]); Pushd\publish('x', 'chat hears of the end'); }
    function onError(ConnectionInterface $c, Exception $e) { $c->close(); }
}
class Ws extends Ratchet\WebSocket\WsServer { function onOpen(ConnectionInterface $c, RequestInterface $request = null) { $c->user = 'own'; parent::onOpen($c, $request); } }
`

// TestRatchetAround: a layer of the program's own around a WsServer says who gets in, and
// with what answer, and hears of all that comes.
func TestRatchetAround(t *testing.T) {
	file := program(t, ratchetAround+`Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(
    new Around(new Ratchet\Http\OriginCheck(new Ratchet\WebSocket\WsServer(new Chat), ['good.test']))), 8080)->run();`)
	h := serve(t, file, "start")
	const local, chat = "websocket://0.0.0.0:8080", "Sec-WebSocket-Protocol: chat\r\n"
	asks := func(id uint64, token, more string) {
		target := "/?token=" + token
		h.openAt(script.Handshake, id, "", local, target, "GET "+target+" HTTP/1.1\r\nHost: x\r\n"+more+"\r\n")
	}
	until := func(want string) {
		for o := h.next(); o != want; o = h.next() {
			if o == "EOF" {
				t.Fatalf("no %q\n%s", want, h.log)
			}
		}
	}
	const ends = "PUBLISH 0 x around hears of the end"
	for _, x := range []struct {
		token, more string
		want        []string
	}{
		{"no", chat, []string{"ACCEPT+1/401 1 HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\nsign in", ends}},
		{"ann", "", []string{"ACCEPT+1/426 1 HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\nNo Sec-WebSocket-Protocols requested supported", "BIND 1 ann", ends}},
		{"ann", chat + "Origin: http://evil.test\r\n", []string{"ACCEPT+1/403 1 HTTP/1.1 403 Forbidden", "BIND 1 ann", ends}},
		{"throw", chat, []string{"ACCEPT/500 1 internal error", "PUBLISH 0 x a mistake", ends}},
	} {
		asks(1, x.token, x.more)
		h.want(x.want...)
	}
	asks(2, "never", chat)
	h.want("HELD+1 2")
	until("ACCEPT/500 2 internal error")
	until(ends)
	asks(3, "ann", chat+"Origin: http://good.test\r\n")
	h.want("ACCEPT/101 3 Sec-WebSocket-Protocol: chat", "BIND 3 ann", "SEND 3 in", `SESSION 3 {"user":"ann"}`, "HELD+1 3")
	h.openAt(script.Open, 3, `{"user":"ann"}`, local, "/?token=ann", "GET /?token=ann HTTP/1.1\r\nHost: x\r\n\r\n")
	h.message(3, "hi")
	h.want("SEND 3 ann: hi 1 of 1")
	asks(4, "later", chat)
	h.done() // with a SESSION, of which pushd cannot know whose it is
	until("ACCEPT/101 4 Sec-WebSocket-Protocol: chat")
	until(`SESSION 4 {"user":"late"}`)
	until("SEND 4 in")
	asks(5, "ann", chat) // and has left by then
	h.done()
	h.closed(5)
	h.want(ends, "PUBLISH 0 x chat hears of the end")
	raw := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	h.write(append(script.AppendRequest(nil, 6, "192.0.2.1:5", local, len(raw)), raw...))
	h.want("BIND 6 nobody", "RESPOND 6 HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\nthis path speaks WebSocket", ends)

	_, carried := h.stop(script.Successor)
	_, data, err := script.ParseCarry(carried)
	must(t, err)
	h = serve(t, file, "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{3, 4}, data))
	h.openAt(script.Resume, 3, `{"user":"ann"}`, local, "/?token=ann", "GET /?token=ann HTTP/1.1\r\n\r\n")
	h.openAt(script.Resume, 4, `{"user":"late"}`, local, "/?token=late", "GET /?token=late HTTP/1.1\r\n\r\n")
	h.done()
	h.message(3, "hi")
	h.want("SEND 3 ann: hi 1 of 2")
	h.closed(3)
	h.want(ends, "PUBLISH 0 x chat hears of the end")
}

// TestRatchetOwnWsServer: a class that extends WsServer has its own onOpen.
func TestRatchetOwnWsServer(t *testing.T) {
	h := serve(t, program(t, ratchetAround+`$app = new Ratchet\App('localhost', 8080);
if (!$app->route('/other', new Ratchet\Server\EchoServer, ['*']) instanceof Ratchet\WebSocket\WsServer) exit('it is another');
$app->route('/', new Ws(new Chat), ['*']);
$app->run();`), "start")
	h.openAt(script.Handshake, 1, "", "websocket://127.0.0.1:8080", "/", "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
	h.want("ACCEPT/101 1 Sec-WebSocket-Protocol: chat", "SEND 1 in", `SESSION 1 {"user":"own"}`, "HELD+1 1")
	h.message(1, "hi")
	h.want("SEND 1 hi of 1")
}

// TestRatchetRefused: what is not run is said at the start, by its name.
func TestRatchetRefused(t *testing.T) {
	const session = `namespace Ratchet\Session { class SessionProvider extends \Pushd\RatchetLayer implements \Ratchet\Http\HttpServerInterface {} } namespace {`
	for code, want := range map[string]string{
		session + ratchetAround + `class Sessions extends Ratchet\Session\SessionProvider {}
$app = new Ratchet\App('localhost', 8080);
$app->route('/', new Around(new Sessions(new Ratchet\WebSocket\WsServer(new Chat))));
$app->run(); }`: `Sessions is a Ratchet\Session\SessionProvider, which is not supported by pushd`,
		`class Lines implements Ratchet\MessageComponentInterface {
    private $in;
    function __construct(Ratchet\MessageComponentInterface $in) { $this->in = $in; }
    function onOpen(Ratchet\ConnectionInterface $c) {}
    function onMessage(Ratchet\ConnectionInterface $c, $m) {}
    function onClose(Ratchet\ConnectionInterface $c) {}
    function onError(Ratchet\ConnectionInterface $c, Exception $e) {}
}
Ratchet\Server\IoServer::factory(new Lines(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Ratchet\Server\EchoServer))))->run();`: "Lines around a HttpServer is not supported by pushd",
	} {
		p, _ := plan(t, program(t, code))
		if got := fmt.Sprint(p["error"]); !strings.Contains(got, want) {
			t.Errorf("%s\n%s", code, got)
		}
	}
}
