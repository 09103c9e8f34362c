package php_test

import (
	"slices"
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
