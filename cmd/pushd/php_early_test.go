package main_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPAsksEarly: a process that asks pushd from a timer while the one before it is still
// at work gets its answer, and nobody waits for it.
func TestPHPAsksEarly(t *testing.T) {
	for name, question := range map[string]string{
		"connections": "count($w->connections)",
		"online":      "(int)Pushd\\isOnline('u')",
		"order":       "count(Pushd\\order(['op' => 'publish', 'channel' => 'r', 'data' => 'x']))",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, file := phpServer(t, phpLogs+`
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onWorkerStart = function ($w) {
    if (Pushd\Link::$config['births'] > 1) Workerman\Timer::add(0.001, function () use ($w) { $n = `+question+`; ev('asked'); ev($n); }, [], false);
};
$w->onMessage = function ($c, $data) {
    ev($data);
    while ($data === 'busy' && !strpos(file_get_contents(__DIR__ . '/events'), 'asked')) usleep(1000);
    $c->send($data);
};
Workerman\Worker::runAll();`)
			s.MustRun("start", "-d")
			c := s.Dial("/")
			c.SendText("busy")
			pushdtest.Eventually(t, "it is busy", func() bool { return phpEvents(t, file) == "busy " })
			if out := s.MustRun("reload"); !strings.Contains(out, "1 process replaced") {
				t.Error(out)
			}
			c.WantText("busy")
			phpAsk(c, "hi", "hi")
			if log := s.Log(); strings.Contains(log, "too long") || phpEvents(t, file) != "busy asked 0 hi " {
				t.Errorf("%q\n%s", phpEvents(t, file), log)
			}
		})
	}
}

// TestPHPAsksAtTheStart: while a process is still being started, those that serve already
// do not know who is there, and say so; once it is over they do.
func TestPHPAsksAtTheStart(t *testing.T) {
	s, file := phpServer(t, phpLogs+`
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->count = 2;
$w->onWorkerStart = function ($w) { while ($w->id === 1 && !is_file(__DIR__ . '/go')) usleep(1000); };
$w->onMessage = function ($c, $data) {
    Pushd\bind($c, 'u');
    try {
        $c->send($data === 'members' ? count(Pushd\members('room')) . ' there' : Pushd\isOnline('u') . ' online');
    } catch (Pushd\Incomplete $e) {
        $c->send('nobody knows');
    }
};
Workerman\Worker::runAll();`)
	start := s.Command(t.Context(), "start", "-d")
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	pushdtest.Eventually(t, "the port is open", func() bool {
		c, err := net.Dial("tcp", s.Address())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	c := s.Dial("/")
	phpAsk(c, "online", "nobody knows")
	phpAsk(c, "members", "nobody knows")
	phpMust(t, os.WriteFile(filepath.Join(filepath.Dir(file), "go"), nil, 0o644))
	if err := start.Wait(); err != nil {
		t.Fatal(err)
	}
	phpAsk(c, "online", "1 online")
	phpAsk(c, "members", "0 there")
}
