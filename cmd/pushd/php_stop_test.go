package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPLastWords: what a program says to its clients when it is stopped arrives, it sees
// them, and its callback comes to its end.
func TestPHPLastWords(t *testing.T) {
	worker := func(says, setup string) string {
		return `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$stop = function ($w) {
    file_put_contents(__DIR__ . '/saved', count($w->connections) . ' here,', FILE_APPEND);
    foreach ($w->connections as $c) $c->` + says + `;
};
` + setup + `
Workerman\Worker::runAll();`
	}
	for _, x := range []struct {
		name, code, text string
		end              int
	}{
		{"send", worker("send('the server stops')", `$w->onClose = function () { file_put_contents(__DIR__ . '/saved', ' closed', FILE_APPEND); };
$w->onMessage = function ($c, $data) { $c->send($data); }; $w->onWorkerStop = $stop;`), "the server stops", 1001},
		{"close", worker("close('bye')", `$w->onMessage = function ($c, $data) { $c->send($data); }; $w->onWorkerStop = $stop;
$w->onClose = function () { file_put_contents(__DIR__ . '/saved', ' closed', FILE_APPEND); };`), "bye", 1000},
		{"set late", worker("send('too late')", `$w->onMessage = function ($c, $data) use ($w, $stop) { $w->onWorkerStop = $stop; $c->send($data); };`), "", 1001},
		{"swoole", `<?php
$s = new Swoole\WebSocket\Server('127.0.0.1', 9820);
$s->on('message', function ($s, $f) { $s->push($f->fd, $f->data); });
$s->on('close', function () { file_put_contents(__DIR__ . '/saved', ' closed', FILE_APPEND); });
$s->on('workerStop', function ($s) {
    file_put_contents(__DIR__ . '/saved', count($s->connections) . ' here,', FILE_APPEND);
    foreach ($s->connections as $fd) $s->push($fd, 'the server stops');
});
$s->start();`, "the server stops", 1001},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s, file := phpServer(t, x.code)
			s.MustRun("start", "-d")
			c := s.Dial("/")
			phpAsk(c, "hi", "hi")
			stopped := make(chan pushdtest.Result, 1)
			go func() { stopped <- s.Run("stop") }()
			if x.text != "" {
				c.WantText(x.text)
			}
			c.WantClose(x.end)
			if r := <-stopped; r.Code != 0 {
				t.Errorf("stop exits %d: %s%s", r.Code, r.Stdout, r.Stderr)
			}
			want := "1 here, closed"
			if x.text == "" {
				want = "0 here,"
			}
			if got, err := os.ReadFile(filepath.Join(filepath.Dir(file), "saved")); err != nil || string(got) != want {
				t.Errorf("saved %q, %v; want %q: the client is cut, and the program told\n%s", got, err, want, s.Log())
			}
		})
	}
}

// TestPHPShutdown: a server of Swoole stops its pushd, where that is its own.
func TestPHPShutdown(t *testing.T) {
	const code = `<?php
$s = new Swoole\WebSocket\Server('127.0.0.1', %d);
$s->on('message', function ($s, $f) { $s->push($f->fd, json_encode($f->data === 'end' ? $s->shutdown() : [])); });
$s->on('shutdown', function () { file_put_contents(__DIR__ . '/saved', 'shut down'); });
$s->start();`
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		s, file := phpServer(t, fmt.Sprintf(code, 9820))
		s.MustRun("start", "-d")
		c, master := s.Dial("/"), s.Status().Master.PID
		phpAsk(c, "end", "true")
		c.WantClose(1001)
		s.AwaitGone(master)
		if got, err := os.ReadFile(filepath.Join(filepath.Dir(file), "saved")); err != nil || string(got) != "shut down" {
			t.Errorf("saved %q, %v\n%s", got, err, s.Log())
		}
	})
	t.Run("in a config", func(t *testing.T) {
		t.Parallel()
		s := pushdtest.Start(t, pushdtest.Options{Manual: true, Config: "[[worker]]\nscript = \"php start.php\"\nallow_root = true\n"})
		phpWrite(t, filepath.Join(s.Dir, "start.php"), fmt.Sprintf(code, s.Port))
		s.MustRun("start", "-d")
		c := s.Dial("/")
		phpAsk(c, "end", "false")
		phpAsk(c, "hi", "[]")
		if !strings.Contains(s.Log(), "shutdown() does nothing: pushd has a config") {
			t.Errorf("the log does not say why\n%s", s.Log())
		}
	})
}

// TestPHPEndsAlone: a process that ends takes no other along, whatever its program asks for
// in a destructor, at its exit or in the callback of its end.
func TestPHPEndsAlone(t *testing.T) {
	const swoole = `<?php
class Game {
    public $server;
    function __construct() {
        $this->server = new Swoole\WebSocket\Server('127.0.0.1', 9820);
        $this->server->on('message', [$this, 'onMessage']);
        $this->server->on('workerStop', [$this, 'ask']);
    }
    function onMessage($s, $f) {
        $guard = new Guard($s);
        if ($f->data === 'exit') exit;
        if ($f->data === 'fatal') $a = str_repeat('x', 1 << 40);
        $guard->s = null;
        $s->push($f->fd, $f->data);
    }
    function ask() { %s; }
    function __destruct() { $this->ask(); }
}
class Guard { public $s; function __construct($s) { $this->s = $s; } function __destruct() { if ($this->s) { $this->s->shutdown(); $this->s->reload(); } } }
$game = new Game;
register_shutdown_function([$game, 'ask']);
$game->server->start();`
	const workerman = `<?php
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:2346');
class Game {
    function onMessage($c, $data) { if ($data === 'exit') exit; if ($data === 'fatal') $a = str_repeat('x', 1 << 40); $c->send($data); }
    function ask() { %s; }
    function __destruct() { $this->ask(); }
}
$game = new Game;
register_shutdown_function([$game, 'ask']);
$w->onMessage = [$game, 'onMessage'];
$w->onWorkerStop = [$game, 'ask'];
Worker::runAll();`
	for name, code := range map[string]string{
		"shutdown":   fmt.Sprintf(swoole, "$this->server->shutdown(); $this->server->reload()"),
		"master_pid": fmt.Sprintf(swoole, "Swoole\\Process::kill($this->server->master_pid, 15)"),
		"stopAll":    fmt.Sprintf(workerman, "Worker::stopAll(); Worker::reloadAllWorkers()"),
		"parent":     fmt.Sprintf(workerman, "if (get_cfg_var('pushd.role') === 'handler') posix_kill(posix_getppid(), SIGTERM)"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := phpServer(t, code)
			s.MustRun("start", "-d")
			stays := s.Dial("/")
			phpAsk(stays, "hi", "hi")
			births := func() int { return scripted{s, t}.idle().Births }
			began := births()
			s.MustRun("reload")
			phpAsk(stays, "reloaded", "reloaded")
			for _, how := range []string{"exit", "fatal"} {
				c := s.Dial("/")
				c.SendText(how)
				c.WantClose(1011)
				phpAsk(stays, "after "+how, "after "+how)
			}
			if now := births(); now != began+3 {
				t.Errorf("%d processes in the place of three\n%s", now-began, s.Log())
			}
			s.MustRun("stop")
		})
	}
}
