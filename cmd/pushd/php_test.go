package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// phpRoom is a program with the state that programs have: names on connections,
// a map of them by user, a list for everyone.
const phpRoom = `<?php
use Workerman\Worker;
const VERSION = 1;
$w = new Worker('websocket://127.0.0.1:2346');
$w->name = 'room';
$w->users = [];
$w->onMessage = function ($c, $data) use ($w) {
    [$cmd, $arg] = explode(' ', $data . ' ', 2);
    $arg = trim($arg);
    switch ($cmd) {
        case 'login': $c->uid = $arg; $w->users[$arg] = $c; $c->send("hello $arg"); break;
        case 'name': $c->name = $arg; $c->send("you are $arg"); break;
        case 'who': $c->send(VERSION . ' ' . ($c->uid ?? $c->name ?? '-') . ' ' . count($w->users)); break;
        case 'to': [$u, $m] = explode(' ', $arg, 2); $w->users[$u]->send($m); break;
        case 'all': Pushd\broadcast($arg); break;
        case 'pid': $c->send((string)getmypid()); break;
        case 'throw': throw new RuntimeException('a mistake');
        case 'exit': exit(3);
        case 'fatal': $a = str_repeat('x', 1 << 40); break;
        case 'spin': while (true) { strlen($arg); } break;
        default: $c->send($data);
    }
};
$w->onClose = function ($c) use ($w) { unset($w->users[$c->uid ?? '']); };
Worker::runAll();
`

// phpServer writes a program and prepares a server for it.
func phpServer(t *testing.T, code string, env ...string) (*pushdtest.Server, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "start.php")
	phpWrite(t, file, code)
	return pushdtest.Start(t, pushdtest.Options{
		Manual: true, Prefix: []string{"php", file},
		Env: append([]string{"PUSHD_DRAIN=0s", "PUSHD_ALLOW_ROOT=1"}, env...),
	}), file
}

func phpWrite(t *testing.T, file, code string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
}

func phpMust(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// phpUsers are clients u0, u1 … that the room knows.
func phpUsers(s *pushdtest.Server, n int) (clients []*pushdtest.Client) {
	for i := range n {
		c := s.Dial("/")
		phpAsk(c, fmt.Sprintf("login u%d", i), fmt.Sprintf("hello u%d", i))
		clients = append(clients, c)
	}
	return clients
}

func phpAsk(c *pushdtest.Client, question, answer string) {
	c.SendText(question)
	c.WantText(answer)
}

// TestPHPReload replaces PHP code under live connections, again and again, and
// once by code that is broken: nobody is closed, nothing that was set is lost.
func TestPHPReload(t *testing.T) {
	s, file := phpServer(t, phpRoom)
	s.MustRun("start", "-d")
	const n = 20
	clients := phpUsers(s, n)
	for v := 2; v <= 6; v++ {
		phpWrite(t, file, strings.Replace(phpRoom, "VERSION = 1", fmt.Sprintf("VERSION = %d", v), 1))
		s.MustRun("reload", "-g")
		for i, c := range clients {
			phpAsk(c, "who", fmt.Sprintf("%d u%d %d", v, i, n))
		}
	}
	broken := func(code, words string) {
		t.Helper()
		phpWrite(t, file, code)
		r := s.Run("reload")
		if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, words) {
			t.Errorf("reload of %.40q exits %d, wants %q:\n%s%s", code, r.Code, words, r.Stdout, r.Stderr)
		}
		phpAsk(clients[3], "who", fmt.Sprintf("6 u3 %d", n))
	}
	broken("<?php this is not php", "syntax error, unexpected identifier")
	broken(strings.Replace(phpRoom, "Worker::runAll();", "$w->onWorkerStart = function () { throw new Exception('no database'); }; Worker::runAll();", 1), "no database")
	clients[1].SendText("to u2 hi")
	clients[2].WantText("hi")
	clients[1].SendText("all news")
	for _, c := range clients {
		c.WantText("news")
	}
}

// phpSleepers are programs whose callbacks sleep while others run.
var phpSleepers = map[string]string{
	"workerman": `<?php
use Workerman\Worker;
use Workerman\Timer;
const VERSION = 1;
$w = new Worker('websocket://127.0.0.1:8080');
$w->eventLoop = Workerman\Events\Fiber::class;
$w->onMessage = function ($c, $data) {
    if ($data === 'nap' || $data === 'long') { $c->send('sleeps'); Timer::sleep($data === 'nap' ? 0.3 : 60); }
    $c->send("$data " . VERSION);
};
Worker::runAll();`,
	"swoole": `<?php
const VERSION = 1;
$s = new Swoole\WebSocket\Server('127.0.0.1', 8080);
$s->on('message', function ($s, $f) {
    go(function () use ($s, $f) {
        if ($f->data === 'nap' || $f->data === 'long') { $s->push($f->fd, 'sleeps'); Co::sleep($f->data === 'nap' ? 0.3 : 60); }
        $s->push($f->fd, "$f->data " . VERSION);
    });
});
$s->start();`,
}

// TestPHPStays: a Worker that is not reloadable keeps its process and its code in a
// reload, which says so; one of all processes replaces it.
func TestPHPStays(t *testing.T) {
	code := strings.Replace(phpRoom, "$w->users = [];", "$w->users = []; $w->reloadable = false; $w->onWorkerReload = function () { Pushd\\broadcast('heard'); };", 1)
	s, file := phpServer(t, code)
	s.MustRun("start", "-d")
	c := s.Dial("/")
	phpAsk(c, "login ann", "hello ann")
	phpWrite(t, file, strings.Replace(code, "VERSION = 1", "VERSION = 2", 1))
	if out := s.MustRun("reload"); !strings.Contains(out, "0 processes replaced") || !strings.Contains(out, "1 process left as the program wants") {
		t.Errorf("reload says\n%s", out)
	}
	c.WantText("heard")
	phpAsk(c, "who", "1 ann 1")
	if out := s.MustRun("reload", "--all"); !strings.Contains(out, "1 process replaced, 1 connection moved") || strings.Contains(out, "left") {
		t.Errorf("reload --all says\n%s", out)
	}
	c.WantText("heard") // by the process that leaves
	phpAsk(c, "who", "2 ann 1")
}

// TestPHPSignalsParent: a program that watches its files, or is told to by a client, signals
// its parent, which is the master as in Workerman: USR1 takes over new code, TERM stops.
func TestPHPSignalsParent(t *testing.T) {
	code := strings.Replace(phpRoom, "case 'all':", "case 'signal': posix_kill(posix_getppid(), (int)$arg); break;\n        case 'all':", 1)
	s, file := phpServer(t, code)
	s.MustRun("start", "-d")
	master := s.Status().Master.PID
	c := s.Dial("/")
	phpAsk(c, "login ann", "hello ann")
	phpWrite(t, file, strings.Replace(code, "VERSION = 1", "VERSION = 2", 1))
	c.SendText(fmt.Sprintf("signal %d", syscall.SIGUSR1))
	logged(t, s, "reload done")
	phpAsk(c, "who", "2 ann 1")
	c.SendText(fmt.Sprintf("signal %d", syscall.SIGTERM))
	c.WantClose(1001)
	s.AwaitGone(master)
}

// phpHolders are programs that let who asks for / wait, and have begun with an answer of /begun.
var phpHolders = map[string]string{
	"swoole": `$s = new Swoole\Http\Server('127.0.0.1', 9501);
$held = [];
$s->on('request', function ($q, $response) use (&$held) {
    holds($q->server['request_uri'], function ($text) use ($response) { $response->write($text); });
    $held[] = $response;
});
$s->start();`,
	"ratchet": `class Room implements Ratchet\Http\HttpServerInterface {
    public $held = [];
    function onOpen(Ratchet\ConnectionInterface $c, ?Psr\Http\Message\RequestInterface $r = null) {
        holds($r->getUri()->getPath(), function ($text) use ($c) { $c->send("HTTP/1.1 200 OK\r\n\r\n$text"); });
        $this->held[] = $c;
    }
    function onMessage(Ratchet\ConnectionInterface $c, $data) {}
    function onClose(Ratchet\ConnectionInterface $c) {}
    function onError(Ratchet\ConnectionInterface $c, Exception $e) {}
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Room), 2346)->run();`,
	"workerman": `$w = new Workerman\Worker('http://127.0.0.1:2346');
$w->onMessage = function ($c, $r) {
    holds($r->path(), function ($text) use ($c) { $c->send(new Workerman\Protocols\Http\Response(200, ['Content-Type' => 'text/event-stream'], $text)); });
    Workerman\Timer::add(600, function () use ($c) { $c->send('late'); }, [], false);
};
Workerman\Worker::runAll();`,
	"workerman, in a map": `$w = new Workerman\Worker('http://127.0.0.1:2346');
$w->held = [];
$w->onMessage = function ($c, $r) use ($w) {
    holds($r->path(), function ($text) use ($c) { $c->send(new Workerman\Protocols\Http\Response(200, ['Content-Type' => 'text/event-stream'], $text)); });
    $w->held[$c->id] = $c;
};
Workerman\Worker::runAll();`,
}

// TestPHPRequestHeld: who waits for an answer when the process of the program ends is told so,
// to come back where it was told to, and the log says so; where the answer had begun it is cut.
func TestPHPRequestHeld(t *testing.T) {
	for _, x := range []struct {
		name, how string
		status    int
	}{
		{"swoole", "reload", 503}, {"swoole", "stop", 503}, {"swoole", "kill", 502},
		{"ratchet", "reload --all", 503}, {"ratchet", "stop", 503},
		{"workerman", "reload", 503}, {"workerman", "reload --all", 503}, {"workerman", "stop", 503}, {"workerman", "kill", 502},
		{"workerman, in a map", "reload, reload --all, stop", 503}, // kept until then
	} {
		t.Run(x.name+", "+x.how, func(t *testing.T) {
			t.Parallel()
			s, _ := phpServer(t, `<?php
function holds($path, $begin) {
    if ($path === '/kill') posix_kill(getmypid(), 9);
    if ($path === '/begun') $begin("data: 1\n\n");
    echo "$path waits\n";
}
`+phpHolders[x.name])
			s.MustRun("start", "-d")
			waits, begun := phpGet(t, s, "/"), phpGet(t, s, "/begun")
			logged(t, s, "/ waits\n") // before the master's own line, perhaps
			logged(t, s, "/begun waits\n")
			for _, how := range strings.Split(x.how, ", ") {
				if how == "kill" {
					phpGet(t, s, "/kill")
				} else {
					s.MustRun(strings.Fields(how)...)
				}
			}
			all := waits()
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(all)), nil)
			phpMust(t, err)
			if resp.StatusCode != x.status || (resp.Header.Get("Retry-After") == "1") != (x.status == 503) {
				t.Errorf("%q", all)
			}
			if all := begun(); !strings.HasPrefix(all, "HTTP/1.1 200") || strings.Contains(all, "HTTP/1.1 50") {
				t.Errorf("begun: %q", all)
			}
			if x.how == "reload" {
				logged(t, s, "status=503")
			}
		})
	}
}

// phpGet asks for a path, and gives what comes until the end of the connection.
func phpGet(t *testing.T, s *pushdtest.Server, path string) (all func() string) {
	t.Helper()
	c, err := net.Dial("tcp", s.Address())
	phpMust(t, err)
	t.Cleanup(func() { c.Close() })
	phpMust(t, c.SetDeadline(time.Now().Add(pushdtest.Timeout)))
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
	phpMust(t, err)
	return func() string {
		text, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("%s: %q, %v", path, text, err)
		}
		return string(text)
	}
}

// TestPHPCoroutines: a callback sleeps and others run, also while the program is
// replaced: who waits gets his answer from the old one.
func TestPHPCoroutines(t *testing.T) {
	for name, code := range phpSleepers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSleepers(t, code)
		})
	}
}

func testSleepers(t *testing.T, code string) {
	s, file := phpServer(t, code)
	s.MustRun("start", "-d")
	const n = 20
	var sleepers []*pushdtest.Client
	for range n {
		c := s.Dial("/")
		c.SendText("nap")
		c.WantText("sleeps")
		sleepers = append(sleepers, c)
	}
	awake := s.Dial("/")
	phpAsk(awake, "hi", "hi 1")
	for _, c := range sleepers {
		c.WantText("nap 1")
		c.SendText("nap")
		c.WantText("sleeps")
	}
	long := s.Dial("/")
	long.SendText("long")
	long.WantText("sleeps")
	phpWrite(t, file, strings.Replace(code, "VERSION = 1", "VERSION = 2", 1))
	s.MustRun("reload")
	phpAsk(awake, "hi", "hi 2")
	long.WantClose(1012) // nobody waits for ever
	for _, c := range sleepers {
		c.WantText("nap 1")
		phpAsk(c, "hi", "hi 2")
	}
}

// TestPHPMistakes: whatever a callback does, it costs the connection whose it
// was, and what the program keeps in its maps outlives the process.
func TestPHPMistakes(t *testing.T) {
	s, _ := phpServer(t, phpRoom)
	s.MustRun("start", "-d")
	ann := s.Dial("/")
	phpAsk(ann, "login ann", "hello ann")
	for _, how := range []string{"throw", "exit", "fatal", "spin"} {
		c := s.Dial("/")
		phpAsk(c, "who", "1 - 1")
		c.SendText(how)
		c.WantClose(1011)
		phpAsk(ann, "who", "1 ann 1")
	}
	if log := s.Log(); !strings.Contains(log, "RuntimeException: a mistake in") {
		t.Errorf("the exception is not in the log:\n%s", log)
	}
}

// TestPHPKilled: who is in no variable of the program stays when PHP is killed,
// who is in one is asked to come back; and all stay when the broker process is.
func TestPHPKilled(t *testing.T) {
	s, _ := phpServer(t, phpRoom)
	s.MustRun("start", "-d")
	held, free := s.Dial("/"), s.Dial("/")
	phpAsk(held, "login ann", "hello ann")
	phpAsk(free, "name bob", "you are bob")
	free.SendText("pid")
	_, pid, err := free.Next(pushdtest.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	fmt.Sscan(string(pid), &n)
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	held.WantClose(1012)
	phpAsk(free, "who", "1 bob 0")

	broker := s.Status().Broker.PID
	s.Kill(broker)
	pushdtest.Eventually(t, "another broker process runs", func() bool {
		now := s.Status().Broker.PID
		return now != 0 && now != broker
	})
	phpAsk(free, "who", "1 bob 0")
	pushdtest.Eventually(t, "a broadcast comes", func() bool {
		free.SendText("all x")
		_, got, err := free.Next(time.Second)
		return err == nil && string(got) == "x"
	})
}

// TestPHPBadPrograms: each is refused with a line that says what to do, in PHP's
// own words.
func TestPHPBadPrograms(t *testing.T) {
	for _, x := range []struct{ name, code, want string }{
		{"parse", "<?php this is not php", "syntax error, unexpected identifier"},
		{"ends", "<?php echo 'hello';", "came to its end without Worker::runAll()"},
		{"exits", "<?php echo 'no licence'; exit(1);", "no licence"},
		{"throws", "<?php throw new Exception('no database');", "no database"},
		{"start", strings.Replace(phpRoom, "Worker::runAll();", "$w->onWorkerStart = function () { throw new Exception('no cache'); }; Worker::runAll();", 1), "no cache"},
		{"start, output in a file", strings.Replace(phpRoom, "Worker::runAll();", "Worker::$stdoutFile = __DIR__ . '/out'; $w->onWorkerStart = function () { throw new Exception('no cache'); }; Worker::runAll();", 1), "Uncaught Exception: no cache"},
		{"sockets", "<?php\n$s = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);\nsocket_bind($s, '127.0.0.1', 1);", "start.php:3 calls socket_bind(): it opens sockets of its own, which pushd cannot keep. The same as a Worker of websocket://, in a third of the lines: examples/chat/chat.php"},
		{"loops", "<?php echo 'waiting'; while (true) usleep(1000);", "did not come to Worker::runAll(), $app->run() or $server->start() in 6s"},
		{"none", "<?php Workerman\\Worker::runAll();", "there is no Worker"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s, _ := phpServer(t, x.code)
			r := s.Run("start", "-d")
			if r.Code != 1 || !strings.Contains(r.Stderr, x.want) {
				t.Errorf("start exits %d, wants %q:\n%s%s", r.Code, x.want, r.Stdout, r.Stderr)
			}
		})
	}
}

// TestPHPWordsOfWorkerman types what fingers know.
func TestPHPWordsOfWorkerman(t *testing.T) {
	s, file := phpServer(t, strings.Replace(phpRoom, "Worker::runAll();", "echo \"printed before\\n\"; Worker::$pidFile = __DIR__ . '/server.pid'; Worker::runAll();", 1))
	if r := s.Run(); r.Code != 0 || !strings.Contains(r.Stderr, "<command> [mode]") {
		t.Errorf("without a verb it exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := s.Run("strat"); r.Code != 2 || !strings.Contains(r.Stderr, "start.php start`?") {
		t.Errorf("a wrong verb exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	r := s.Run("start", "-d")
	if r.Code != 0 || !strings.Contains(r.Stderr+s.Log(), "printed before") {
		t.Fatalf("start exits %d:\n%s%s\n%s", r.Code, r.Stdout, r.Stderr, s.Log())
	}
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(file), "server.pid"))
	if err != nil || string(pid) != fmt.Sprint(s.Status().Master.PID) {
		t.Errorf("$pidFile has %q, %v", pid, err)
	}
	c := s.Command(context.Background(), "publish", "news", "hi")
	c.Env = append(c.Env, "PUSHD_API_LISTEN=") // of the shell that has started it
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("publish: %v\n%s", err, out)
	}
	link := filepath.Join(s.Dir, "link.php")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{{"php", file, "status"}, {"php", "link.php", "status"}, {"php", file, "reload", "-g"}, {"php", file, "connections"}, {"rename"}, {"php", file, "status"}, {"php", file, "stop", "-g"}} {
		if line[0] == "rename" { // what runs is found by the path that it was started with
			phpMust(t, os.Rename(file, file+".old"))
			if r := s.Run("reload"); r.Code != 1 || !strings.Contains(r.Stderr, "Could not open input file: "+file) {
				t.Errorf("reload without the file exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
			}
			continue
		}
		c := s.Command(context.Background())
		c.Args = append([]string{s.Binary}, line...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", line, err, out)
		}
	}
	for first, words := range map[string]string{"none.php": "name the file that starts the server", s.Dir: "name the file that starts the server", "--allow-root": "flags come behind the file"} {
		c := s.Command(context.Background())
		c.Args = []string{s.Binary, "php", first, "start"}
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), words) {
			t.Errorf("%s: %v\n%s", first, err, out)
		}
	}
}

func TestPHPRefusesRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test is of root")
	}
	refused, _ := phpServer(t, phpRoom, "PUSHD_ALLOW_ROOT=")
	if r := refused.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "not run as root: set $worker->user") || strings.Contains(r.Stderr, "[[worker]]") {
		t.Errorf("start exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	s, file := phpServer(t, strings.Replace(phpRoom, "Worker::runAll();", "$w->user = 'nobody'; Worker::runAll();", 1), "PUSHD_ALLOW_ROOT=")
	for _, dir := range []string{s.Dir, filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
		phpMust(t, os.Chmod(dir, 0o755))
	}
	s.MustRun("start", "-d")
	c := s.Dial("/")
	phpAsk(c, "who", "1 - 0")
	c.SendText("pid")
	_, pid, err := c.Next(pushdtest.Timeout)
	phpMust(t, err)
	if info, err := os.Stat("/proc/" + string(pid)); err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("PHP runs as root: %v", err)
	}
}

// TestPHPInstall types plain php.
func TestPHPInstall(t *testing.T) {
	confd := t.TempDir()
	before := filepath.Join(t.TempDir(), "before.php")
	phpWrite(t, before, "<?php $before = 'before';")
	phpWrite(t, filepath.Join(confd, "10-mine.ini"), "auto_prepend_file = "+before+"\n")
	s, file := phpServer(t, phpRoom, "PHP_INI_SCAN_DIR="+confd)
	other := filepath.Join(t.TempDir(), "other.php")
	phpWrite(t, other, "<?php echo $before, ' ', class_exists('Workerman\\Worker', false) ? 'changed' : 'as it was', \"\\n\";")
	server := filepath.Join(t.TempDir(), "server.php")
	phpWrite(t, server, phpSaid)
	typed := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
		defer cancel()
		c := s.Command(ctx)
		path, err := exec.LookPath(args[0])
		phpMust(t, err)
		c.Path, c.Args = path, args
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	out := typed(s.Binary, "php", "--install", file)
	written, _ := filepath.Glob(confd + "/*pushd*")
	for _, want := range append(written, file, before+", which was run first before, still is", "php --uninstall` removes all three") {
		if !strings.Contains(out, want) {
			t.Errorf("install does not name %s:\n%s", want, out)
		}
	}
	typed("php", file, "start", "-d")
	c := s.Dial("/")
	phpAsk(c, "login ann", "hello ann")
	typed("php", file, "reload")
	phpAsk(c, "who", "1 ann 1")
	if out := typed("php", file, "status"); !strings.Contains(out, "room") {
		t.Errorf("status prints\n%s", out)
	}
	if out := typed("php", other); out != "before as it was\n" {
		t.Errorf("another program prints %q", out)
	}
	typed("php", file, "stop")
	typed(s.Binary, "php", "--install", server)
	typed("php", server, "-d", fmt.Sprint(s.Port), "x y")
	phpAsk(s.Dial("/"), "hi", fmt.Sprintf("hi %d x y", s.Port))
	typed("php", server, "reload", "--", fmt.Sprint(s.Port), "x y")
	phpAsk(s.Dial("/"), "hi", fmt.Sprintf("hi %d x y", s.Port))
	typed("php", server, "stop", "--", fmt.Sprint(s.Port), "x y")
	typed(s.Binary, "php", "--uninstall")
	if left, _ := filepath.Glob(confd + "/*"); len(left) != 1 {
		t.Errorf("left are %q", left)
	}
	if out := typed("php", other); out != "before as it was\n" {
		t.Errorf("another program prints %q after the uninstall", out)
	}
}

// TestPHPForeground starts a program of Ratchet as its tutorial does, with the flag
// that a refusal of root asks for.
func TestPHPForeground(t *testing.T) {
	s, _ := phpServer(t, `<?php
$server = Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Ratchet\Server\EchoServer)), 8080);
$server->run();`)
	c, ended := s.Foreground(func(c *exec.Cmd) { c.Args = append(c.Args[:3], "--allow-root") })
	client := s.Dial("/")
	phpAsk(client, "hello", "hello")
	phpMust(t, c.Process.Signal(os.Interrupt))
	client.WantClose(1001)
	<-ended
}

// TestPHPWatch saves files: the program's own, one that a callback loads, one that is
// no PHP, and one again while PHP starts with what it was. The client stays.
func TestPHPWatch(t *testing.T) {
	const code = `<?php
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:8080');
$w->onMessage = function ($c, $data) {
    $c->n = ($c->n ?? 0) + 1;
    if ($data === 'load') require_once __DIR__ . '/late.php';
    $c->send(VERSION . ' ' . (function_exists('late') ? late() : '-') . ($c->n > 0 ? '' : 'lost'));
};
const VERSION = 1;
SLOW
Worker::runAll();`
	plain := strings.Replace(code, "SLOW", "", 1)
	s, file := phpServer(t, plain, "PUSHD_WATCH=1")
	dir := filepath.Dir(file)
	late := filepath.Join(dir, "late.php")
	phpWrite(t, late, "<?php function late() { return 'late 1'; }")
	s.MustRun("start", "-d")
	c := s.Dial("/")
	ask := func(text string) string {
		c.SendText(text)
		_, got, err := c.Next(pushdtest.Timeout)
		phpMust(t, err)
		return string(got)
	}
	version := func(n int) string { return strings.Replace(plain, "VERSION = 1", fmt.Sprint("VERSION = ", n), 1) }
	becomes := func(text, want string) {
		t.Helper()
		pushdtest.Eventually(t, "it answers "+want, func() bool { return ask(text) == want })
	}
	becomes("x", "1 -")
	phpWrite(t, file, version(2))
	becomes("x", "2 -")
	becomes("load", "2 late 1")
	changes := func() int { return strings.Count(s.Log(), "a file has changed") }
	before := changes()
	phpWrite(t, late, "<?php function late() { return 'late  2'; }")
	pushdtest.Eventually(t, "what a callback has loaded is seen", func() bool {
		phpMust(t, os.Chtimes(late, time.Time{}, time.Now())) // saved again, until it has been seen as it was; not longer, since a start is begun again then
		return changes() > before
	})
	becomes("load", "2 late  2")
	phpWrite(t, file, version(30)+" (")
	pushdtest.Eventually(t, "the log has PHP's words", func() bool {
		return strings.Contains(s.Log(), "the process before serves on") && strings.Contains(s.Log(), "Parse error")
	})
	becomes("x", "2 late  2")
	// This one says that it has been read, and waits: what is saved meanwhile is newer, and comes in its place.
	phpWrite(t, file, strings.Replace(strings.Replace(code, "VERSION = 1", "VERSION = 400", 1), "SLOW",
		`touch(__DIR__ . '/read'); sleep(3600);`, 1))
	pushdtest.Eventually(t, "PHP has read the file", func() bool { _, err := os.Stat(filepath.Join(dir, "read")); return err == nil })
	phpWrite(t, file, version(5000))
	becomes("x", "5000 -")
	becomes("load", "5000 late  2")
	phpWrite(t, late, "<?php function late() {")
	pushdtest.Eventually(t, "what only a callback loads is looked at before", func() bool {
		return strings.Contains(s.Log(), "Unclosed '{' in "+late)
	})
	if r := s.Run("reload"); r.Code == 0 || !strings.Contains(r.Stderr, late) {
		t.Errorf("a reload with it: %+v", r)
	}
	becomes("load", "5000 late  2")
}

// TestPHPWatchDeclares: names, addresses and counts are the master's. A program
// that is replaced by itself and has others serves as before, and says so.
func TestPHPWatchDeclares(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: `
drain = "0s"
[[worker]]
script     = "php start.php"
allow_root = true
watch      = true
`})
	write := func(version, port int, more string) {
		phpWrite(t, filepath.Join(s.Dir, "start.php"), fmt.Sprintf(`<?php
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:%d');
$w->name = 'room';
$w->onMessage = function ($c) { $c->send('%d'); };
%s
Worker::runAll();`, port, version, more))
	}
	write(1, s.Port, "")
	s.MustRun("start", "-d")
	c := s.Dial("/")
	c.SendText("x")
	c.WantText("1")
	port, beside := pushdtest.FreePort(t), pushdtest.FreeAddr(t)
	write(2, port, fmt.Sprintf("$w->count = 2; $b = new Worker('text://%s'); $b->name = 'beside';", beside))
	for _, want := range []string{
		fmt.Sprintf(` is websocket://127.0.0.1:%d × 2 now, and is served as websocket://127.0.0.1:%d still`, port, s.Port),
		fmt.Sprintf(` is text://%s now, and is not served yet`, beside),
	} {
		pushdtest.Eventually(t, want, func() bool { return strings.Contains(s.Log(), want) })
	}
	s.MustRun("reload")
	for _, addr := range []string{beside, fmt.Sprintf("127.0.0.1:%d", port)} {
		there, err := net.Dial("tcp", addr)
		phpMust(t, err)
		there.Close()
	}
	write(3, port, "")
	want := `, text://` + beside + ", is not in the program any more"
	pushdtest.Eventually(t, want, func() bool { return strings.Contains(s.Log(), want) })
	pushdtest.Eventually(t, "the new program answers the client of the first address", func() bool {
		c.SendText("x")
		_, got, err := c.Next(pushdtest.Timeout)
		phpMust(t, err)
		return string(got) == "3"
	})
	if n := strings.Count(s.Log(), want); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, s.Log())
	}
}

// TestPHPInConfig has the program as one worker of a config, with limits of its
// own: groups, addresses and counts are the program's.
func TestPHPInConfig(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: `
[[worker]]
name   = "go"
listen = "websocket://{{metrics}}"
routes = { "/echo" = "echo" }

[[worker]]
script     = "php start.php start 'a port' {{port}}"
allow_root = true
limits     = { max_message = "1KiB" }
`})
	code := strings.Replace(phpRoom, "127.0.0.1:2346'", "127.0.0.1:' . ($argv[1] === 'start' && $argv[2] === 'a port' ? $argv[3] : 0)", 1)
	phpWrite(t, filepath.Join(s.Dir, "start.php"), strings.Replace(code, "$w->users = [];", "$w->users = []; $w->count = 2;", 1))
	s.MustRun("start", "-d")
	names := map[string]int{}
	for _, w := range s.Status().Workers {
		names[w.Name]++
	}
	if names["room"] != 2 || names["go"] == 0 {
		t.Errorf("groups are %v", names)
	}
	c := s.Dial("/")
	phpAsk(c, "login ann", "hello ann")
	s.MustRun("reload")
	phpAsk(c, "who", "1 ann 1")
	c.SendText(strings.Repeat("x", 2000))
	c.WantClose(1009)
}

// TestPHPWorkerKilled: a killed worker takes its clients along, and the next one
// serves.
func TestPHPWorkerKilled(t *testing.T) {
	s, _ := phpServer(t, phpRoom)
	s.MustRun("start", "-d")
	c := s.Dial("/")
	phpAsk(c, "login ann", "hello ann")
	c.SendText("pid")
	_, pid, err := c.Next(pushdtest.Timeout)
	phpMust(t, err)
	old := s.Status().Workers[0].PID
	s.Kill(old)
	pushdtest.Eventually(t, "another worker is ready", func() bool {
		w := s.Status().Workers[0]
		return w.State == "ready" && w.PID != old
	})
	pushdtest.Eventually(t, "PHP of the killed worker is gone", func() bool {
		_, err := os.Stat("/proc/" + string(pid))
		return err != nil
	})
	phpAsk(s.Dial("/"), "who", "1 - 0")
}

// TestPHPNoAddress has a Worker for timers alone beside the one that serves.
func TestPHPNoAddress(t *testing.T) {
	s, _ := phpServer(t, strings.Replace(phpRoom, "Worker::runAll();", `
$t = new Worker();
$t->name = 'timers';
$t->onWorkerStart = function () { Workerman\Timer::add(0.05, function () { Pushd\order(['op' => 'broadcast', 'worker' => 'room', 'data' => 'tick']); }); };
Worker::runAll();`, 1))
	s.MustRun("start", "-d")
	c := s.Dial("/")
	c.WantText("tick")
	s.MustRun("reload")
	c.WantText("tick")
}
