package main_test

import (
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
    if (Pushd\Link::$config['births'] > 1) Workerman\Timer::add(0.001, function () use ($w) { ev('asks'); ev(`+question+`); }, [], false);
};
$w->onMessage = function ($c, $data) {
    ev($data);
    while ($data === 'busy' && !strpos(file_get_contents(__DIR__ . '/events'), 'asks')) usleep(1000);
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
			if log := s.Log(); strings.Contains(log, "too long") || phpEvents(t, file) != "busy asks 0 hi " {
				t.Errorf("%q\n%s", phpEvents(t, file), log)
			}
		})
	}
}
