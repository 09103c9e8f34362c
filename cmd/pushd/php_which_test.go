package main_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// phpRuns says which runs there were, those that only look without how many.
func phpRuns(events string) string {
	var list []string
	for _, run := range []string{"look", "first", "next"} {
		switch n := strings.Count(events, run+" "); {
		case n > 0 && run == "look":
			list = append(list, run)
		case n > 0:
			list = append(list, fmt.Sprint(run, " ", n))
		}
	}
	return strings.Join(list, ", ")
}

// TestPHPWhichRun: a program knows which of its runs this is, before it serves: one process of
// a start is the first, whatever it has of Workers and counts, and none after it is.
func TestPHPWhichRun(t *testing.T) {
	s, file := phpServer(t, phpLogs+`
ev(getenv('STARTED_BY_PUSHD'));
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->name = 'a';
$w->count = 2;
$w->onMessage = function ($c, $data) { exit(1); };
$b = new Workerman\Worker('text://127.0.0.1:2347');
$b->name = 'b';
Workerman\Worker::runAll();`)
	past := 0
	ran := func(what, want string) {
		t.Helper()
		got := ""
		defer func() {
			if t.Failed() {
				t.Logf("%s: got %q\n%s", what, got, s.Log())
			}
		}()
		pushdtest.Eventually(t, what+" runs "+want, func() bool {
			events := phpEvents(t, file)
			got = phpRuns(events[past:])
			if got == want {
				past = len(events)
			}
			return got == want
		})
	}
	verb := func(want string, args ...string) {
		t.Helper()
		s.MustRun(args...)
		ran(strings.Join(args, " "), want)
	}
	verb("look", "check")
	verb("look", "plan")
	verb("look, first 1, next 2", "start", "-d")
	verb("look", "check")
	verb("look, next 3", "reload")
	verb("look, next 3", "reload", "--all")
	s.Dial("/").SendText("exit")
	ran("a process that has ended", "next 1")
	verb("look, first 1, next 2", "restart", "-d")
	for _, w := range s.Status().Workers {
		if w.Name == "a" && w.Slot == 0 {
			s.Kill(w.PID)
		}
	}
	ran("a worker process that was killed", "next 1")
}
