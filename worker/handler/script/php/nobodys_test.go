package php_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestNobodys: a callback of no connection that ends the process is nobody's fault. What it
// says then is how much of the batch has begun: the rest is for the process that comes next.
func TestNobodys(t *testing.T) {
	for _, x := range []struct{ name, code, want string }{
		{"timer", "exit(3);", "POISON 0 0"},
		{"memory", "$a = str_repeat('x', 1 << 40);", "POISON 0 0"},
		{"signal", "pcntl_signal(SIGUSR1, function () { exit(3); }); posix_kill(getmypid(), SIGUSR1); strlen('now');", "POISON 0 0"},
		{"destructor", "$o = new class { function __destruct() { exit(3); } }; $o = null;", "POISON 0 0"},
		{"task", "Timer::add(0, function () { exit(3); }, [], false);", "POISON 0 0"},
		{"asks", "count($w->connections); exit(3);", "POISON 0 0"}, // and is told of somebody in the middle of a batch
		{"asks, and a connection's", "count($w->connections);", "POISON 2 2"},
		{"coroutine", "exit(3);", "POISON 0 0"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			loop := ""
			if x.name == "coroutine" {
				loop = `$w->eventLoop = Workerman\Events\Fiber::class;`
			}
			file := program(t, `
use Workerman\Worker; use Workerman\Timer;
$w = new Worker('websocket://0.0.0.0:2346');
`+loop+`
$w->onMessage = function ($c, $data) use ($w) {
    if ($data === 'exit') exit(3);
    if ($data === 'b') $c->send('done');
    if ($data === 'later') Timer::add(0.001, function () use ($w) {
        Timer::sleep(0.001); // which suspends a coroutine
        echo "it runs\n";
        while (!file_exists(__DIR__ . '/go')) time_nanosleep(0, 1000000);
        `+x.code+`
    }, [], false);
};
Worker::runAll();`)
			h := serve(t, file, "start")
			h.open(script.Open, 1, "")
			h.message(1, "later")
			h.done()
			h.says("it runs")
			goes := func() { must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "go"), nil, 0o600)) }
			asks := strings.HasPrefix(x.name, "asks")
			if asks {
				goes()
				if o := h.next(); o != "ASK_OPENS 1" {
					t.Fatalf("it asks by %q\n%s", o, h.log)
				}
			}
			h.message(1, "a")
			h.open(script.Resume, 2, "")
			h.event(script.Frame{Op: script.Answer, Conn: 1, Payload: []byte("{}")})
			h.message(2, "exit")
			h.message(1, "b")
			h.tick()
			if !asks {
				goes()
			}
			if got := h.lastWords(); !slices.Contains(got, x.want) || slices.Contains(got, "SEND 1 done") {
				t.Errorf("last words %q, want %q among them\n%s", got, x.want, h.log)
			}
		})
	}
	t.Run("packet", func(t *testing.T) { // the one that it dies of is not for the next one
		h := serve(t, program(t, `
$u = new Workerman\Worker('udp://0.0.0.0:2346');
$u->onMessage = function ($c, $data) { exit(3); };
Workerman\Worker::runAll();`), "start")
		h.event(script.Frame{Op: script.Packet, Payload: []byte("192.0.2.1:9\x00udp://0.0.0.0:2346\x00a")})
		h.event(script.Frame{Op: script.Packet, Payload: []byte("192.0.2.1:9\x00udp://0.0.0.0:2346\x00b")})
		h.tick()
		if got := h.lastWords(); !slices.Contains(got, "POISON 0 1") {
			t.Errorf("last words %q\n%s", got, h.log)
		}
	})
}
