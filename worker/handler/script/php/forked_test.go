package php_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestForked: the clients are not a child's that a program forks off. What it says to pushd is
// refused aloud, and where it comes back from its callback it goes no further.
func TestForked(t *testing.T) {
	const refused, back = "what a child of pcntl_fork() sends, closes or publishes does not happen", "a child of pcntl_fork() has come back from its callback and is ended"
	for _, x := range []struct{ name, child, status, says string }{
		{"sends", `if ($c->send('lost') !== false) exit(1); exit(3);`, "left with 3", refused},
		{"sends and is killed", `$c->send('lost'); posix_kill(getmypid(), 9);`, "ended by 9", refused},
		{"sends much", `if ($c->send(str_repeat('x', 1000000)) !== false) exit(1); exit(3);`, "left with 3", refused},
		{"closes", `$c->close('bye'); exit(3);`, "left with 3", refused},
		{"publishes", `Pushd\publish('x', 'y'); Pushd\join($c, 'x'); exit(3);`, "left with 3", refused},
		{"asks", `Pushd\isOnline('7');`, "ended by 9", "a child of pcntl_fork() has no answer from pushd"},
		{"asks who is there", `count($w->connections);`, "ended by 9", "a child of pcntl_fork() has no answer from pushd"},
		{"works in silence", `$c->name = 'Ann'; $c = null; usleep(1); exit(0);`, "left with 0", ""},
		{"returns", `return;`, "ended by 9", back},
		{"throws", `throw new Exception('in the child');`, "ended by 9", "uncaught Exception: in the child"},
		{"has a fatal error", `$a = str_repeat('x', 1 << 40);`, "left with 255", "Allowed memory size"},
		{"waits for a timer", `Timer::add(0.001, function () { exit(0); }); return;`, "ended by 9", back},
	} {
		for _, where := range []string{"message", "timer", "close", "fiber"} {
			if where == "close" && x.says == refused { // to nobody
				continue
			}
			t.Run(x.name+" in a "+where, func(t *testing.T) {
				t.Parallel()
				loop := ""
				if where == "fiber" {
					loop = `$w->eventLoop = Workerman\Events\Fiber::class;`
				}
				h := serve(t, program(t, `
use Workerman\Worker; use Workerman\Timer;
$w = new Worker('websocket://0.0.0.0:2346');
`+loop+`
$w->onWorkerStart = function () { register_shutdown_function(function () { echo "shutdown of ", getmypid(), "\n"; }); };
function forks($c, $w) {
    $p = pcntl_fork();
    if ($p === 0) { `+x.child+` return; }
    pcntl_waitpid($p, $status);
    Pushd\publish('log', pcntl_wifexited($status) ? 'left with ' . pcntl_wexitstatus($status) : 'ended by ' . pcntl_wtermsig($status));
}
$w->onMessage = function ($c, $data) use ($w) {
    if ($data === 'message') { forks($c, $w); return; }
    if ($data === 'timer') { Timer::add(0.001, function () use ($c, $w) { forks($c, $w); }, [], false); return; }
    $c->send($data);
};
$w->onClose = function ($c) use ($w) { if ($w->closes ?? true) forks($c, $w); };
Worker::runAll();`), "start")
				h.open(script.Open, 1, "")
				h.open(script.Open, 2, "")
				h.message(1, "hello")
				h.done()
				want := "PUBLISH 0 log " + x.status
				switch where {
				case "close":
					h.closed(1)
				case "fiber":
					h.message(1, "message")
				default:
					h.message(1, where)
				}
				h.message(2, "behind")
				got := h.done()
				for !strings.Contains(fmt.Sprint(got), want) {
					if got = append(got, h.next()); len(got) > 20 {
						t.Fatalf("no %q in %q\n%s", want, got, h.log)
					}
				}
				for _, o := range got {
					if o != want && o != "SEND 2 behind" && !strings.HasPrefix(o, "HELD") && !strings.HasPrefix(o, "CALL") && !strings.HasPrefix(o, "ASK_OPENS") {
						t.Errorf("%q in %q\n%s", o, got, h.log)
					}
				}
				h.message(2, "and on")
				if orders := fmt.Sprint(h.done()); !strings.Contains(orders, "SEND 2 and on") {
					t.Errorf("its parent goes on with %s\n%s", orders, h.log)
				}
				log := h.log.String()
				if !strings.Contains(log, x.says) || x.says == "" && strings.Contains(log, "pcntl_fork") {
					t.Errorf("the log has no %q\n%s", x.says, log)
				}
				if strings.HasPrefix(x.status, "ended") && strings.Contains(log, "shutdown of") {
					t.Errorf("it has run what its parent has for its own end\n%s", log)
				}
			})
		}
	}
}
