package main_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// phpLogs writes what happens, a word each.
const phpLogs = `<?php
function ev($s) { file_put_contents(__DIR__ . '/events', "$s ", FILE_APPEND); }
function dies($how) {
    if ($how === 'asks') Pushd\members('room'); // which lets in who is at the door
    if ($how === 'exit' || $how === 'asks') exit(1);
    if ($how === 'die') die('not allowed');
    if ($how === 'fatal') eval('class A {} class A {}');
}
`

// phpDoors are programs that let clients in, in each way that there is; ?how is what they die of.
var phpDoors = map[string]string{
	"workerman": `$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onConnect = function ($c) { ev('connect'); };
$w->onWebSocketConnect = function ($c) { dies($_GET['how'] ?? ''); };
$w->onClose = function () { ev('close'); };
$w->onMessage = function ($c, $data) { ev($data); $c->send($data); };
Workerman\Worker::runAll();`,
	"connect": `$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onConnect = function ($c) { ev('connect'); $c->onWebSocketConnect = function () { dies($_GET['how'] ?? ''); }; };
$w->onClose = function () { ev('close'); };
$w->onMessage = function ($c, $data) { ev($data); $c->send($data); };
Workerman\Worker::runAll();`,
	"swoole": `$s = new Swoole\WebSocket\Server('127.0.0.1', 2346);
$s->on('beforeHandshakeResponse', function ($s, $q, $r) { ev('connect'); dies($q->get['how'] ?? ''); });
$s->on('close', function () { ev('close'); });
$s->on('message', function ($s, $f) { ev($f->data); $s->push($f->fd, $f->data); });
$s->start();`,
	"swoole decides": `$s = new Swoole\WebSocket\Server('127.0.0.1', 2346);
$s->on('handshake', function ($q, $r) { ev('connect'); $r->status(101); $r->end(); dies($q->get['how'] ?? ''); });
$s->on('close', function () { ev('close'); });
$s->on('message', function ($s, $f) { ev($f->data); $s->push($f->fd, $f->data); });
$s->start();`,
	"ratchet": `class Room implements Ratchet\MessageComponentInterface {
    function onOpen(Ratchet\ConnectionInterface $c) { ev('connect'); parse_str($c->httpRequest->getUri()->getQuery(), $q); dies($q['how'] ?? ''); }
    function onMessage(Ratchet\ConnectionInterface $c, $data) { ev($data); $c->send($data); }
    function onClose(Ratchet\ConnectionInterface $c) { ev('close'); }
    function onError(Ratchet\ConnectionInterface $c, Exception $e) {}
}
class Gate implements Ratchet\Http\HttpServerInterface {
    private $in;
    function __construct($in) { $this->in = $in; }
    function onOpen(Ratchet\ConnectionInterface $c, ?Psr\Http\Message\RequestInterface $r = null) { $this->in->onOpen($c, $r); }
    function onMessage(Ratchet\ConnectionInterface $c, $data) { $this->in->onMessage($c, $data); }
    function onClose(Ratchet\ConnectionInterface $c) { $this->in->onClose($c); }
    function onError(Ratchet\ConnectionInterface $c, Exception $e) { $this->in->onError($c, $e); }
}
Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Gate(new Ratchet\WebSocket\WsServer(new Room))), 2346)->run();`,
}

// TestPHPDiesAtTheDoor: a client whose handshake the program has not come to the end of
// does not come in, whatever ended it, and nobody else dies of it. One that was let in before
// is closed. The next process is told of the end of him.
func TestPHPDiesAtTheDoor(t *testing.T) {
	for name, code := range phpDoors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, file := phpServer(t, phpLogs+code)
			s.MustRun("start", "-d")
			want := ""
			for _, how := range []string{"exit", "die", "fatal", "asks", ""} {
				c := pushdtest.Handshake(t, s.Address(), "/?how="+how)
				want += "connect "
				switch status := c.Response.StatusCode; {
				case how == "":
					phpAsk(c, "hi", "hi")
					want += "hi "
				case how == "asks":
					if status != http.StatusSwitchingProtocols {
						t.Fatalf("%s: the answer is %d", how, status)
					}
					c.WantClose(1011)
					want += "close "
					pushdtest.Eventually(t, "the end is told", func() bool { return phpEvents(t, file) == want })
				case status != http.StatusServiceUnavailable && !(name == "swoole decides" && status == http.StatusSwitchingProtocols):
					t.Errorf("%s: the answer is %d", how, status)
				default:
					want += "close "
					pushdtest.Eventually(t, "the end is told", func() bool { return phpEvents(t, file) == want })
				}
			}
			if got := phpEvents(t, file); got != want {
				t.Errorf("%q has happened, want %q\n%s", got, want, s.Log())
			}
		})
	}
}

// phpEvents are what a program has written.
func phpEvents(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "events"))
	if !errors.Is(err, fs.ErrNotExist) {
		phpMust(t, err)
	}
	return string(text)
}

// TestPHPExits: a callback that ends the process is the last one of its connection but
// onClose, which comes once, and nothing of it stays; others do.
func TestPHPExits(t *testing.T) {
	const workerman = `$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onConnect = function ($c) { ev('connect'); };
$w->onMessage = function ($c, $data) use ($w) {
    ev($data);
    if ($data === 'ends') $c->close();
    if ($data === 'stays') { while (!is_file(__DIR__ . '/left')) usleep(1000); posix_kill(getmypid(), 9); }
    dies($data === 'ends' ? 'exit' : $data);
    $c->send((string)count($w->connections));
};
$w->onClose = function ($c) { ev('close'); };
`
	for _, x := range []struct {
		name, setup, path string
		say               []string
		leaves            bool
		want              string
	}{
		{"exit", "", "/", []string{"a", "exit", "b", "c"}, false, "connect a exit close "},
		{"exit, left", "", "/", []string{"a", "exit", "b", "c"}, true, "connect a exit close "},
		{"fatal", "", "/", []string{"fatal", "b", "c"}, false, "connect fatal close "},
		{"closed", "", "/", []string{"ends", "b", "c"}, true, "connect ends close "},
		{"opened", `$w->onWebSocketConnected = function () { dies($_GET['how'] ?? ''); };`, "/?how=exit", []string{"b", "c"}, false, "connect close "},
		{"resumed", `$w->onResume = function () { if (!is_file(__DIR__ . '/old')) return; ev('resume'); exit; }; $w->onWorkerStart = function () { if (Pushd\Link::$config['births'] > 1) touch(__DIR__ . '/old'); };`,
			"/", []string{"exit", "b"}, false, "connect exit resume "},
		{"killed, left", "", "/", []string{"stays", "b", "c"}, true, "connect stays close "},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s, file := phpServer(t, phpLogs+workerman+x.setup+"\nWorkerman\\Worker::runAll();")
			s.MustRun("start", "-d")
			c := s.Dial(x.path)
			if x.say[0] == "stays" { // else the process reads it all at once
				c.SendText("stays")
				x.say = x.say[1:]
				pushdtest.Eventually(t, "it stays", func() bool { return strings.HasSuffix(phpEvents(t, file), "stays ") })
			}
			var all []byte
			for _, text := range x.say {
				all = append(all, pushdtest.Frame(pushdtest.OpText, []byte(text))...)
			}
			if _, err := c.Conn.Write(all); err != nil {
				t.Fatal(err)
			}
			if x.leaves {
				c.Close()
				phpWrite(t, filepath.Join(filepath.Dir(file), "left"), "")
			} else {
				for op := byte(0); op != pushdtest.OpClose; {
					var err error
					if op, _, err = c.Next(pushdtest.Timeout); err != nil {
						t.Fatal(err)
					}
				}
			}
			pushdtest.Eventually(t, "the end is told", func() bool { return strings.HasPrefix(phpEvents(t, file), x.want) })
			phpAsk(s.Dial("/"), "hi", "1")
			if got := phpEvents(t, file); got != x.want+"connect hi " {
				t.Errorf("%q has happened, want %q\n%s", got, x.want, s.Log())
			}
		})
	}
}

// TestPHPMemory: a callback that uses up the memory costs one connection, also by one text
// that grows, of which PHP has two for a moment.
func TestPHPMemory(t *testing.T) {
	s, _ := phpServer(t, `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->users = [];
$w->onMessage = function ($c, $data) use ($w) {
    $w->users[$c->id] = $c;
    if ($data === 'list') for ($x = [];;) $x[] = new stdClass;
    if ($data === 'text') for ($x = '';;) $x .= str_repeat('x', 1 << 20);
    $c->send((string)count($w->users));
};
$w->onClose = function ($c) use ($w) { unset($w->users[$c->id]); };
Workerman\Worker::runAll();
`)
	s.MustRun("start", "-d")
	other := s.Dial("/")
	phpAsk(other, "hi", "1")
	for _, how := range []string{"list", "text"} {
		c := s.Dial("/")
		c.SendText(how)
		c.WantClose(1011)
		phpAsk(other, "hi", "1")
	}
}

// TestPHPNobodyServes: a reload that fails says so where PHP has died and does not start, and
// that the old code serves where it does.
func TestPHPNobodyServes(t *testing.T) {
	const code = `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onWorkerStart = function () {};
$w->onMessage = function ($c, $data) { if ($data === 'exit') exit(1); $c->send($data); };
Workerman\Worker::runAll();
`
	for name, broken := range map[string]string{
		"no code":          "<?php this is none",
		"it does not work": strings.Replace(code, "onWorkerStart = function () {", "onWorkerStart = function () { exit(3);", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s, file := phpServer(t, code)
			s.MustRun("start", "-d")
			c := s.Dial("/")
			phpAsk(c, "here", "here")
			phpWrite(t, file, broken)
			if r := s.Run("reload"); r.Code != 1 || !strings.Contains(r.Stderr, "the old code keeps serving: ") {
				t.Errorf("%+v", r)
			}
			phpAsk(c, "here", "here")
			c.SendText("exit")
			c.WantClose(1011)
			logged(t, s, "script does not start")
			if r := s.Run("reload"); r.Code != 1 || !strings.Contains(r.Stderr, "nobody serves") || strings.Contains(r.Stderr, "keeps serving") {
				t.Errorf("%+v", r)
			}
			phpWrite(t, file, code)
			s.MustRun("reload")
			phpAsk(s.Dial("/"), "here", "here")
		})
	}
}

// TestPHPSaysWhyItDied: the log has what a process has printed since its last event, and not
// what has nothing to do with its end.
func TestPHPSaysWhyItDied(t *testing.T) {
	const code = `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $data) {
    if ($data === 'talk') echo "nice weather\n";
    if ($data === 'reason') echo "the disk is full\n";
    if ($data === 'exit' || $data === 'reason') exit(1);
    $c->send($data);
};
Workerman\Worker::runAll();
`
	for how, want := range map[string]string{
		"exit":   `error="it ended with status 1, and has said nothing"`,
		"reason": `error="it ended with status 1: the disk is full"`,
	} {
		t.Run(how, func(t *testing.T) {
			s, _ := phpServer(t, code)
			s.MustRun("start", "-d")
			c := s.Dial("/")
			phpAsk(c, "talk", "talk")
			logged(t, s, "nice weather")
			for said := time.Now(); time.Since(said) < 200*time.Millisecond; { // it is no death that was not seen yet
				phpAsk(c, "more", "more")
			}
			c.SendText(how)
			c.WantClose(1011)
			logged(t, s, want)
		})
	}
}

// TestPHPTakesAlong: what PHP has started ends with it, be its worker replaced, too, or not.
func TestPHPTakesAlong(t *testing.T) {
	const code = `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c) { $c->send(exec('sleep 600 > /dev/null 2>&1 & echo $!')); };
Workerman\Worker::runAll();
`
	for _, verb := range [][]string{{"reload"}, {"reload", "--all"}, {"stop"}} {
		t.Run(strings.Join(verb, " "), func(t *testing.T) {
			s, _ := phpServer(t, code)
			s.MustRun("start", "-d")
			c := s.Dial("/")
			c.SendText("start one")
			_, text, err := c.Next(pushdtest.Timeout)
			phpMust(t, err)
			child, err := strconv.Atoi(string(text))
			phpMust(t, err)
			t.Cleanup(func() {
				if t.Failed() {
					_ = syscall.Kill(child, syscall.SIGKILL)
				}
			})
			s.MustRun(verb...)
			pushdtest.Eventually(t, "it has ended", func() bool { return strings.Contains("Z", state(child)) })
		})
	}
}

// TestPHPDiesAtTheDoorInAMap: who is in a map by then is told of by onClose, as he was set.
func TestPHPDiesAtTheDoorInAMap(t *testing.T) {
	s, file := phpServer(t, phpLogs+`
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->users = [];
$w->onConnect = function ($c) use ($w) { ev('connect'); $c->name = 'ann'; $w->users[$c->id] = $c; };
$w->onWebSocketConnect = function ($c) { dies($_GET['how'] ?? ''); };
$w->onClose = function ($c) use ($w) { unset($w->users[$c->id]); ev("close-$c->name"); };
$w->onMessage = function ($c, $data) use ($w) { $c->send(count($w->users) . ' ' . count($w->connections)); };
Workerman\Worker::runAll();`)
	s.MustRun("start", "-d")
	pushdtest.Handshake(t, s.Address(), "/?how=exit")
	pushdtest.Eventually(t, "the end is told", func() bool { return phpEvents(t, file) == "connect close-ann " })
	phpAsk(s.Dial("/"), "", "1 1")
}
