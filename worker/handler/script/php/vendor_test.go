package php_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestVendor runs programs beside a Workerman of their own: its HTTP classes are
// used, its Worker is not. PUSHD_TEST_WORKERMAN lists autoload files, of versions 3, 4 and 5.
func TestVendor(t *testing.T) {
	list := os.Getenv("PUSHD_TEST_WORKERMAN")
	if list == "" {
		t.Skip("PUSHD_TEST_WORKERMAN names no Workerman: it is not among the packages that the tests may install")
	}
	for _, autoload := range strings.Fields(list) {
		t.Run(autoload, func(t *testing.T) {
			h := serve(t, program(t, fmt.Sprintf(`
require_once '%s';
use Workerman\Worker;
$w = new Worker('http://0.0.0.0:2346');
$w->name = 'web';
$w->onMessage = function ($c, $data) {
    $c->send(is_array($data) ? 'v3 ' . $_GET['a'] : 'v5 ' . $data->get('a') . ' ' . (new ReflectionClass($data))->getFileName());
};
$s = new Worker('websocket://0.0.0.0:2347');
$s->onMessage = function ($c, $data) { $c->send($data); };
Worker::runAll();`, autoload)), "web")
			h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
			h.message(1, "GET /x?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
			got := strings.Join(h.done(), ",")
			if !strings.Contains(got, " b") || strings.Contains(got, "fallback.php") {
				t.Errorf("%q\n%s", got, h.log)
			}
		})
	}
}

// TestVendorIsLoadedOnce: an interface of the program's own Workerman that is there is not
// asked for again, as where a class of the program's protocol, and of Workerman's none, is
// looked for.
func TestVendorIsLoadedOnce(t *testing.T) {
	h := serve(t, program(t, `
file_put_contents(__DIR__ . '/ProtocolInterface.php', '<?php namespace Workerman\Protocols; interface ProtocolInterface {}');
spl_autoload_register(function ($class) {
    if ($class === 'Workerman\Protocols\ProtocolInterface') {
        include __DIR__ . '/ProtocolInterface.php';
    }
});
use Workerman\Worker;
use Workerman\Connection\AsyncTcpConnection;
class Mine implements Workerman\Protocols\ProtocolInterface {}
class_alias('Mine', 'Protocols\Mine');
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    try {
        new AsyncTcpConnection('other://127.0.0.1:1');
    } catch (Throwable $e) {
        $c->send($e->getMessage());
    }
    $c->send((new AsyncTcpConnection('mine://127.0.0.1:1'))->protocol);
};
Worker::runAll();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	if got := strings.Join(h.done(), ","); !strings.Contains(got, "is not there") || !strings.Contains(got, `Protocols\Mine`) {
		t.Errorf("%q\n%s", got, h.log)
	}
}

// TestOursBeforeVendors: what is pushd's is not asked of a loader of the program, whether that
// puts itself first, as composer's, or last, as Workerman's own; so timers of Workerman 3, whose
// class sets an alarm, run.
func TestOursBeforeVendors(t *testing.T) {
	for name, first := range map[string]string{"first": "true", "last": "false"} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, program(t, fmt.Sprintf(`
spl_autoload_register(function ($class) {
    $at = (int)strrpos($class, '\\');
    eval(($at ? 'namespace ' . substr($class, 0, $at) . '; ' : '') . 'class ' . ltrim(substr($class, $at), '\\') . ' {
        static function add() { \pcntl_alarm(1); }
    }');
}, true, %s);
use Workerman\Worker;
use Workerman\Lib\Timer;
$w = new Worker('tcp://0.0.0.0:2346');
$w->onWorkerStart = function () {
    $names = ['Workerman\Worker', 'Workerman\Timer', 'Workerman\Connection\TcpConnection', 'Workerman\Connection\AsyncTcpConnection', 'Workerman\Connection\UdpConnection', 'Workerman\Connection\AsyncUdpConnection',
        'React\EventLoop\Factory', 'React\EventLoop\Loop', 'React\EventLoop\StreamSelectLoop', 'React\Socket\Server', 'React\Socket\SocketServer', 'React\Socket\TcpServer', 'React\Socket\SecureServer',
        'Ratchet\App', 'Ratchet\Server\IoServer', 'Swoole\Http\Server', 'OpenSwoole\Http\Server', 'OpenSwoole\Table'];
    foreach (Pushd\Names::OLD as $old => $class) {
        if (class_exists($class, false)) {
            $names[] = $old;
        }
    }
    $theirs = array_filter($names, function ($name) { return strpos((new ReflectionClass($name))->getFileName(), 'eval') !== false; });
    Timer::add(0.001, function () use ($names, $theirs) { Pushd\publish('x', implode(' ', $theirs) ?: 'all ours'); }, [], false);
};
$w->onMessage = function () {};
Worker::runAll();`, first)), "start")
			if got := h.next(); got != "PUBLISH 0 x all ours" {
				t.Errorf("%q\n%s", got, h.log)
			}
		})
	}
}
