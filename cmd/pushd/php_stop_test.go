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
