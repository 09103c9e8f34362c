package php_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/worker/handler/script/php"
)

// TestByHand: a file that is typed by hand, where it is installed, comes to runAll() before it
// becomes pushd, and knows that this is not its start.
func TestByHand(t *testing.T) {
	first, err := php.Write(t.TempDir())
	must(t, err)
	out, err := exec.Command("php", "-d", "auto_prepend_file="+first, program(t, `exit(getenv('STARTED_BY_PUSHD'));`)).CombinedOutput()
	if string(out) != "look" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// TestPlan compares what programs say that they would listen on.
func TestPlan(t *testing.T) {
	for _, x := range []struct{ name, code, want string }{
		{"one", echo, `[{"count":1,"group":"","listen":["websocket://0.0.0.0:2346"],"name":"start","user":""}]`},
		{"several", `
use Workerman\Worker;
$a = new Worker('WebSocket://0.0.0.0:2346'); $a->name = 'My chat'; $a->count = 4; $a->user = 'www-data';
$b = new Worker('text://0.0.0.0:2347'); $b->name = 'My chat';
$c = new Worker('http://0.0.0.0:2348');
$d = new Worker();
$e = new Worker('udp://0.0.0.0:2349');
Worker::runAll();`, `[{"count":4,"group":"","listen":["websocket://0.0.0.0:2346"],"name":"My-chat-2346","user":"www-data"},` +
			`{"count":1,"group":"","listen":["text://0.0.0.0:2347"],"name":"My-chat-2347","user":""},` +
			`{"count":1,"group":"","listen":["tcp://0.0.0.0:2348"],"name":"start-2348","user":""},` +
			`{"count":1,"group":"","listen":[],"name":"start-2","user":""},` +
			`{"count":1,"group":"","listen":["udp://0.0.0.0:2349"],"name":"start-2349","user":""}]`},
		{"tls", `
$w = new Workerman\Worker('websocket://0.0.0.0:443', ['ssl' => ['local_cert' => 'c.pem', 'local_pk' => 'k.pem']]);
$w->transport = 'ssl';
Workerman\Worker::runAll();`,
			`[{"count":1,"group":"","listen":["websocket://0.0.0.0:443"],"name":"start","tls":{"cert":"c.pem","key":"k.pem"},"user":""}]`},
		{"ssl", `new Workerman\Worker('ssl://0.0.0.0:443', ['ssl' => ['local_cert' => 'c.pem', 'local_pk' => 'k.pem']]); Workerman\Worker::runAll();`,
			`[{"count":1,"group":"","listen":["tcp://0.0.0.0:443"],"name":"start","tls":{"cert":"c.pem","key":"k.pem"},"user":""}]`},
		{"no transport", `$w = new Workerman\Worker('websocket://0.0.0.0:443'); $w->transport = 'SSL'; Workerman\Worker::runAll();`,
			`[{"count":1,"error":"websocket://0.0.0.0:443: there is no transport 'SSL'","group":"","listen":["websocket://0.0.0.0:443"],"name":"start","user":""}]`},
		{"own", `
namespace Protocols { class Lines { static function input($b) { return strlen($b); } static function decode($b) { return $b; } static function encode($b) { return $b; } } }
namespace { $w = new Workerman\Worker('lines://0.0.0.0:1'); Workerman\Worker::runAll(); }`,
			`[{"count":1,"group":"","listen":["tcp://0.0.0.0:1"],"name":"start","user":""}]`},
		{"unknown", `$w = new Workerman\Worker('lines://0.0.0.0:1'); Workerman\Worker::runAll();`,
			`[{"count":1,"error":"lines://0.0.0.0:1: class Protocols\\Lines is not there","group":"","listen":["tcp://0.0.0.0:1"],"name":"start","user":""}]`},
		{"no port", `$w = new Workerman\Worker('websocket://0.0.0.0'); Workerman\Worker::runAll();`,
			`[{"count":1,"error":"websocket://0.0.0.0 names no port, as websocket://0.0.0.0:2346 does","group":"","listen":["websocket://0.0.0.0:0.0.0.0"],"name":"start","user":""}]`},
		{"no port of IPv6", `$w = new Workerman\Worker('text://[::1]'); Workerman\Worker::runAll();`,
			`[{"count":1,"error":"text://[::1] names no port, as text://[::1]:2346 does","group":"","listen":["text://[::1]"],"name":"start","user":""}]`},
		{"a port", `$w = new Workerman\Worker('websocket://2346'); Workerman\Worker::runAll();`,
			`[{"count":1,"group":"","listen":["websocket://0.0.0.0:2346"],"name":"start","user":""}]`},
		{"TLS by its name", `$w = new Workerman\Worker('wss://0.0.0.0:443'); Workerman\Worker::runAll();`,
			`[{"count":1,"error":"wss://0.0.0.0:443: a Worker of websocket:// is behind TLS with $worker-\u003etransport = 'ssl' and ['ssl' =\u003e ['local_cert' =\u003e 'cert.pem', 'local_pk' =\u003e 'key.pem']] as its second argument","group":"","listen":["tcp://0.0.0.0:443"],"name":"start","user":""}]`},
		{"ratchet", chatRatchet + `$s = Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), 8080); $s->run();`,
			`[{"count":1,"group":"","listen":["websocket://0.0.0.0:8080"],"name":"start","user":""}]`},
		{"named", chatRatchet + `
$loop = React\EventLoop\Loop::get();
$s = new Ratchet\Server\IoServer(app: new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), socket: new React\Socket\SocketServer('tls://127.0.0.1:8080', loop: $loop, context: ['tls' => ['local_cert' => 'c.pem', 'local_pk' => 'k.pem']]), loop: $loop);
$s->run();`,
			`[{"count":1,"group":"","listen":["websocket://127.0.0.1:8080"],"name":"start","tls":{"cert":"c.pem","key":"k.pem"},"user":""}]`},
		{"telnet", chatRatchet + `Ratchet\Server\IoServer::factory(new Chat, 8080)->run();`,
			`[{"count":1,"group":"","listen":["tcp://0.0.0.0:8080"],"name":"start","user":""}]`},
		{"swoole", `
$s = new swoole_websocket_server("0.0.0.0", 9501);
$s->addlistener("127.0.0.1", 9502, SWOOLE_SOCK_UDP);
$s->on('Message', function ($s, $f) {});
$s->on('packet', function () {});
$s->start();`, `[{"count":1,"group":"","listen":["websocket://0.0.0.0:9501","udp://127.0.0.1:9502"],"name":"start","user":""}]`},
		{"a class of its own", `
class Chat extends Swoole\WebSocket\Server {
    function __construct() {
        parent::__construct('0.0.0.0', 1);
        static $made = 0;
        if ($made++) exit(1);
        $this->on('message', function () {});
        $this->listen('127.0.0.1', 2, SWOOLE_SOCK_TCP);
        $this->listen('127.0.0.1', 3, SWOOLE_SOCK_UDP)->on('packet', function () {});
    }
}
(new Chat)->start();`, `[{"count":1,"group":"","listen":["websocket://0.0.0.0:1","websocket://127.0.0.1:2","udp://127.0.0.1:3"],"name":"start","user":""}]`},
		{"paths", `
chdir('/tmp');
$s = new Swoole\Server('main.sock', 0, SWOOLE_PROCESS, SWOOLE_UNIX_STREAM);
$s->on('receive', function () {});
$w = $s->listen('/run/w.sock', 0, SWOOLE_SOCK_UNIX_STREAM);
$w->set(['open_websocket_protocol' => true]);
$w->on('message', function () {});
$s->start();`, `[{"count":1,"group":"","listen":["unix:///tmp/main.sock","websocket:///run/w.sock"],"name":"start","user":""}]`},
		{"datagrams at a path", `
$s = new Swoole\Server('::', 1);
$s->on('receive', function () {});
$s->listen('/run/d.sock', 0, SWOOLE_SOCK_UNIX_DGRAM);
$s->start();`, `[{"count":1,"error":"/run/d.sock: SWOOLE_SOCK_UNIX_DGRAM is not supported by pushd: datagrams come by SWOOLE_SOCK_UDP, bytes at a path by SWOOLE_SOCK_UNIX_STREAM","group":"",` +
			`"listen":["tcp://[::]:1","udp:///run/d.sock"],"name":"start","user":""}]`},
		{"certificates of clients", `
$w = new Workerman\Worker('websocket://0.0.0.0:443', ['ssl' => ['local_cert' => 'c.pem', 'local_pk' => 'k.pem', 'verify_peer' => true, 'cafile' => 'ca.pem']]);
$w->transport = 'ssl';
Workerman\Worker::runAll();`,
			`[{"count":1,"group":"","listen":["websocket://0.0.0.0:443"],"name":"start","tls":{"cert":"c.pem","client_ca":"ca.pem","key":"k.pem"},"user":""}]`},
		{"size", `
Workerman\Connection\TcpConnection::$defaultMaxPackageSize = 1000;
$w = new Workerman\Worker('text://0.0.0.0:1');
$h = new Workerman\Worker('http://0.0.0.0:2');
Workerman\Worker::runAll();`,
			`[{"count":1,"group":"","listen":["text://0.0.0.0:1"],"max_message":1000,"name":"start-1","user":""},{"count":1,"group":"","listen":["tcp://0.0.0.0:2"],"name":"start-2","user":""}]`},
		{"receive", `
if (OpenSwoole\Coroutine::getCid() !== -1) exit(1);
$s = new swoole_websocket_server("0.0.0.0", 9501);
$port = $s->listen("127.0.0.1", 9502, SWOOLE_SOCK_TCP);
if (!$port instanceof Swoole\Server\Port) exit(1);
$port->on('receive', function () {});
$s->on('receive', function () {}); // which Swoole never calls
$s->on('message', function ($s, $f) {});
$s->start();`, `[{"count":1,"group":"","listen":["websocket://0.0.0.0:9501","tcp://127.0.0.1:9502"],"name":"start","user":""}]`},
		{"of whom", `
$s = new Swoole\WebSocket\Server("0.0.0.0", 443, SWOOLE_PROCESS, SWOOLE_TCP | SWOOLE_SSL);
$s->set(['ssl_cert_file' => 'c.pem', 'ssl_key_file' => 'k.pem', 'ssl_verify_peer' => true, 'max_connection' => 8]);
$s->on('Message', function ($s, $f) {});
$s->start();`,
			`[{"count":1,"error":"ssl_verify_peer asks clients for a certificate: say by whom, ssl_client_cert_file =\u003e 'ca.pem'","group":"","listen":["websocket+tls://0.0.0.0:443"],` +
				`"max_connections":8,"name":"start","tls":{"cert":"c.pem","client_ca":"","key":"k.pem"},"user":""}]`},
	} {
		t.Run(x.name, func(t *testing.T) {
			p, out := plan(t, program(t, x.code))
			got, err := json.Marshal(p["groups"])
			must(t, err)
			if string(got) != x.want {
				t.Errorf("groups are\n%s\nwant\n%s\n%s%v", got, x.want, out, p)
			}
		})
	}
}

// TestNoPlan has programs that come to no plan: each says why, in PHP's words.
func TestNoPlan(t *testing.T) {
	for _, x := range []struct{ name, code, key, want string }{
		{"ends", `echo "hello\n";`, "error", "came to its end without Worker::runAll()"},
		{"exits", `exit(3);`, "error", "came to its end without Worker::runAll()"},
		{"throws", `throw new Exception("no database");`, "error", "Uncaught Exception: no database in "},
		{"memory", `$a = str_repeat('x', 1 << 40);`, "error", "Allowed memory size of"},
		{"missing", `new GatewayWorker\Gateway('x://y');`, "error", "not supported by pushd: Pushd\\bind, join and sendToUid"},
		{"gateway", `GatewayWorker\Lib\Gateway::sendToAll('x');`, "error", "Class \"GatewayWorker\\Lib\\Gateway\" not found in "},
		{"gateway's words", `GatewayWorker\Lib\Gateway::sendToAll('x');`, "error", "(Pushd\\bind, join, sendToUid and publish do what Gateway does)"},
		{"sockets", "\n\n$s = socket_create(AF_INET, SOCK_STREAM, 0);\nsocket_bind($s, '127.0.0.1', 8080);", "opens", "socket_bind"},
		{"stream", `$s = stream_socket_server('tcp://127.0.0.1:0');`, "opens", "stream_socket_server"},
		{"fork", `pcntl_fork();`, "opens", "pcntl_fork"},
	} {
		t.Run(x.name, func(t *testing.T) {
			file := program(t, x.code)
			p, out := plan(t, file)
			if got, _ := p[x.key].(string); !strings.Contains(got, x.want) {
				t.Errorf("%s is %q, want %q in it\n%v\n%s", x.key, got, x.want, p, out)
			}
			if at, _ := p["at"].(string); x.name == "sockets" && at != file+":5" {
				t.Errorf("the call is at %q", at)
			}
		})
	}
}

// TestPlanWarns of a certificate that nobody is shown.
func TestPlanWarns(t *testing.T) {
	worker := func(set string) string {
		return `$w = new Workerman\Worker('websocket://0.0.0.0:443', ['ssl' => ['local_cert' => 'c.pem']]); ` + set + ` Workerman\Worker::runAll();`
	}
	swoole := func(more string) string {
		return `$s = new Swoole\WebSocket\Server('0.0.0.0', 443, SWOOLE_PROCESS, SWOOLE_SOCK_TCP` + more + `);
$s->set(['ssl_cert_file' => 'c.pem', 'ssl_key_file' => 'k.pem']); $s->on('message', function () {}); $s->start();`
	}
	const forgotten = "websocket://0.0.0.0:443 has a certificate, and its clients come in the clear: $worker->transport = 'ssl' is missing"
	for code, words := range map[string]string{
		worker(""): forgotten, worker(`$w->transport = 'ssl';`): "", swoole(""): "ssl_key_file (it needs SWOOLE_SOCK_TCP | SWOOLE_SSL)", swoole(" | SWOOLE_SSL"): "",
	} {
		if _, out := plan(t, program(t, code)); !strings.Contains(out, words) || words == "" && out != "" {
			t.Errorf("%s\nprints %s", code, out)
		}
	}
}

// TestPlanOpensNothing holds a port and runs programs that would bind it.
func TestPlanOpensNothing(t *testing.T) {
	p, _ := plan(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:1');
$w->onWorkerStart = function () { file_put_contents(__DIR__ . '/started', 'x'); };
$inner = new Worker('http://127.0.0.1:2');
$inner->listen();
Worker::runAll();`))
	if n := len(p["groups"].([]any)); n != 2 {
		t.Errorf("%d groups", n)
	}
	if _, err := os.Stat(filepath.Join(t.TempDir(), "started")); err == nil {
		t.Error("a plan run has called onWorkerStart")
	}
}

const chatRatchet = `
use Ratchet\MessageComponentInterface;
use Ratchet\ConnectionInterface;
class Chat implements MessageComponentInterface {
    protected $clients;
    public $names = [];
    public function __construct() { $this->clients = new \SplObjectStorage; }
    public function onOpen(ConnectionInterface $conn) { $this->clients->attach($conn); echo "New connection! ({$conn->resourceId})\n"; }
    public function onMessage(ConnectionInterface $from, $msg) {
        if ($msg === 'throw') throw new \Exception('a mistake');
        if ($msg === 'type') strlen();
        if ($msg === 'who') { $from->send($from->remoteAddress . ' ' . $from->httpRequest->getUri()->getQuery() . ' ' . $from->httpRequest->getHeader('Origin')[0]); return; }
        if ($msg === 'name') { $this->names[$from->resourceId] = 'x'; $from->tag = 'y'; return; }
        if ($msg === 'names') { $from->send(json_encode($this->names) . $from->tag); return; }
        foreach ($this->clients as $client) if ($from !== $client) $client->send($msg);
    }
    public function onClose(ConnectionInterface $conn) { $this->clients->detach($conn); echo "gone {$conn->resourceId}\n"; }
    public function onError(ConnectionInterface $conn, \Exception $e) { echo "An error has occurred: {$e->getMessage()}\n"; $conn->close(); }
}
`

// TestWithoutSwoole has a PHP whose ini files load the extension swoole. What
// stands for it here says what such a PHP says, as long as they do.
func TestWithoutSwoole(t *testing.T) {
	real, err := exec.LookPath("php")
	must(t, err)
	dir := t.TempDir()
	confd := filepath.Join(dir, "conf.d")
	must(t, os.Mkdir(confd, 0o755))
	ini := filepath.Join(dir, "php.ini")
	must(t, os.WriteFile(ini, []byte("precision = 7\ndisable_functions = exec,system\nextension=openswoole.so\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(confd, "20-swoole.ini"), []byte("; priority=20\n extension = swoole\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(confd, "30-mine.ini"), []byte("user_agent = mine\n"), 0o644))
	fake := filepath.Join(dir, "php")
	testkit.WriteProgram(t, fake, []byte(fmt.Sprintf(`#!/bin/sh
if grep -qs swoole "${PHP_INI_SCAN_DIR:-%[1]s}"/*; then
	printf '%%s' '{"extension":"swoole","ini":"%[2]s","scanned":"%[1]s/20-swoole.ini,\n%[1]s/30-mine.ini"}' >&3
else
	exec %[3]s "$@"
fi
`, confd, ini, real)), 0o755)
	c := php.Command{PHP: fake, File: program(t, `
$s = new Swoole\WebSocket\Server("0.0.0.0", 9501);
$s->set(['log_file' => ini_get('precision') . ini_get('user_agent')]);
file_put_contents(__DIR__ . '/ini', ini_get('precision') . ini_get('user_agent'));
$s->on('message', function () {});
$s->start();`), Shim: shim(t)}
	var out bytes.Buffer
	p, err := c.Plan(t.Context(), &out)
	if err != nil || len(p.Groups) != 1 {
		t.Fatalf("%+v, %v\n%s", p, err, out.String())
	}
	if !strings.Contains(out.String(), "the extension swoole is loaded in this PHP") {
		t.Errorf("it says %q", out.String())
	}
	if got, _ := os.ReadFile(filepath.Join(filepath.Dir(c.File), "ini")); string(got) != "7mine" {
		t.Errorf("the other settings are %q", got)
	}
	args, env := c.Handler()
	if env["PHP_INI_SCAN_DIR"] == "" {
		t.Error("handlers are run with the extension")
	}
	if off := "disable_functions=exec,system," + php.OwnCalls; !slices.Contains(args, off) {
		t.Errorf("handlers are run with %q, want %s", args, off)
	}
}
