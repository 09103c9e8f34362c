package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// phpOnce is a program that lets a user sign in once: the newer closes the older.
const phpOnce = `<?php
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->users = [];
$w->onMessage = function ($c, $uid) use ($w) {
    if ($uid !== 'who') {
        if (isset($w->users[$uid])) $w->users[$uid]->close('elsewhere');
        $c->uid = $uid;
        $w->users[$uid] = $c;
    }
    $c->send('here: ' . implode(',', array_keys($w->users)));
};
$w->onClose = function ($c) use ($w) { echo "gone $c->uid\n"; unset($w->users[$c->uid]); };
Workerman\Worker::runAll();
`

// TestPHPClosedOnce: the program knows at once that it has closed a client, and hears of
// it once, though the client answers no goodbye and the next process of the program serves
// when it goes.
func TestPHPClosedOnce(t *testing.T) {
	for _, verb := range [][]string{{"reload"}, {"reload", "--all"}} {
		t.Run(strings.Join(verb, " "), func(t *testing.T) {
			s, _ := phpServer(t, phpOnce)
			s.MustRun("start", "-d")
			old, user := s.Dial("/"), s.Dial("/")
			phpAsk(old, "ann", "here: ann")
			phpAsk(user, "ann", "here: ann")
			if out := s.MustRun(verb...); !strings.Contains(out, "0 asked to come back") {
				t.Errorf("a client that is closed already is counted: %s", out)
			}
			phpAsk(user, "who", "here: ann")
			old.Close()
			pushdtest.Eventually(t, "the old one is gone", func() bool { return s.Status().Connections() == 1 })
			phpAsk(user, "who", "here: ann")
			if n := strings.Count(s.Log(), "gone ann"); n != 1 {
				t.Errorf("onClose has run %d times:\n%s", n, s.Log())
			}
		})
	}
}

// TestPHPSaysWhoLeaves: a reload counts those whom it closes, be it since a closure holds them
// in the old process, or since the new code has no place for what they were in. Their close
// callbacks do not wait for their clients.
func TestPHPSaysWhoLeaves(t *testing.T) {
	const code = `<?php
$names = $held = [];
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $how) {
    if ($how === 'name') $GLOBALS['names'][$c->id] = $c;
    if ($how === 'hold') $GLOBALS['held'][] = function () use ($c) {};
    $c->send($how === 'who' ? count($c->worker->connections) . ' here' : 'ok');
};
$w->onClose = function () { echo "onClose\n"; };
$w->count = 1;
Workerman\Worker::runAll();
`
	const fewer = "$w->count = 1;"
	for _, x := range []struct{ name, before, verb string }{
		{"the program alone", "", ""},
		{"workers too", "", "--all"},
		{"one worker less", "$w->count = 2;", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			code := strings.Replace(code, fewer, x.before, 1)
			s, file := phpServer(t, code)
			s.MustRun("start", "-d")
			named, held, free := s.Dial("/"), s.Dial("/"), s.Dial("/")
			phpAsk(named, "name", "ok")
			phpAsk(held, "hold", "ok")
			phpAsk(free, "", "ok")
			code = strings.ReplaceAll(code, "names", "people")
			if x.before != "" {
				code = strings.Replace(code, x.before, fewer, 1)
			}
			phpWrite(t, file, code)
			verb := []string{"reload"}
			if x.verb != "" {
				verb = append(verb, x.verb)
			}
			if out := s.MustRun(verb...); !strings.Contains(out, "2 asked to come back") {
				t.Errorf("two are closed:\n%s\n%s", out, s.Log())
			}
			phpAsk(free, "who", "1 here") // who is closed has not answered that
			if n := strings.Count(s.Log(), "onClose\n"); n != 2 {
				t.Errorf("onClose has run %d times for two:\n%s", n, s.Log())
			}
			named.WantClose(1012)
			held.WantClose(1012)
			phpAsk(free, "", "ok")
		})
	}
}

// TestPHPClosedByAndBy: where a reload costs many their connection they are closed over some
// seconds, and the program hears no more of them. One that replaces the workers too leaves nobody open whom the program has taken leave of.
func TestPHPClosedByAndBy(t *testing.T) {
	s, _ := phpServer(t, `<?php
class Player { public $c, $then; function __construct($c) { $this->c = $c; $this->then = function () {}; } }
class Hall { static $in = []; }
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $data) {
    if ($data === 'in') Hall::$in[$c->id] = $c->player = new Player($c);
    $c->send(count(Hall::$in) . ' are in');
};
$w->onClose = function ($c) { echo "gone\n"; unset(Hall::$in[$c->id]); };
Workerman\Worker::runAll();
`)
	s.MustRun("start", "-d")
	const many = 60
	in, free := make([]*pushdtest.Client, many), s.Dial("/")
	for i := range in {
		in[i] = s.Dial("/")
		phpAsk(in[i], "in", fmt.Sprintf("%d are in", i+1))
	}
	if out := s.MustRun("reload"); !strings.Contains(out, fmt.Sprintf("%d asked to come back", many)) {
		t.Errorf("the reload costs %d:\n%s", many, out)
	}
	for _, c := range in {
		c.SendText("in") // for nobody
	}
	phpAsk(free, "", "0 are in")
	s.MustRun("reload", "--all")
	for _, c := range in {
		c.WantClose(1012)
		c.Conn.Close()
	}
	phpAsk(free, "", "0 are in")
	pushdtest.Eventually(t, "they are gone", func() bool { return s.Status().Connections() == 1 })
	if n := strings.Count(s.Log(), "gone\n"); n != many {
		t.Errorf("onClose has run %d times for %d clients:\n%s", n, many, s.Log())
	}
}

// TestPHPExitInClose: a close callback that ends the process, as the program takes leave of those whom
// a reload costs their connection or as they go by themselves, is told once, and so are all others, in their order.
func TestPHPExitInClose(t *testing.T) {
	const code = phpLogs + `
class Player { public $c, $n, $then; function __construct($c, $n) { $this->c = $c; $this->n = $n; } }
class Hall { static $in = []; }
$w = new Workerman\Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $data) {
    [$what, $n] = explode(' ', "$data ");
    if ($what === 'in') { $c->n = $n; Hall::$in[$n] = new Player($c, $n); if (CUT) Hall::$in[$n]->then = function () {}; }
    $c->send(count(Hall::$in) . ' in');
};
$w->onClose = function ($c) {
    ev($c->n);
    if (LATE) unset(Hall::$in[$c->n]);
    if ($c->n === '2') exit;
    unset(Hall::$in[$c->n]);
};
Workerman\Worker::runAll();
`
	for _, x := range []struct {
		name, verb string
		n          int
		out        bool // of the list, before the process ends
	}{
		{"reload", "reload", 5, true},
		{"reload, in the list still", "reload", 5, false},
		{"workers too", "reload --all", 5, true},
		{"closed by and by", "reload", 60, true},
		{"they leave", "", 5, true},
		{"they leave, in the list still", "", 5, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s, file := phpServer(t, strings.NewReplacer("CUT", fmt.Sprint(x.verb != ""), "LATE", fmt.Sprint(x.out)).Replace(code))
			s.MustRun("start", "-d")
			free, in, want := s.Dial("/"), make([]*pushdtest.Client, x.n), ""
			for i := range in {
				in[i] = s.Dial("/")
				phpAsk(in[i], fmt.Sprintf("in %d", i), fmt.Sprintf("%d in", i+1))
				want += fmt.Sprintf("%d ", i)
			}
			if x.verb != "" {
				s.MustRun(strings.Fields(x.verb)...)
				for _, c := range in {
					c.SendText("in late") // for nobody
				}
			} else {
				for i, c := range in {
					c.Close()
					pushdtest.Eventually(t, "the end is told", func() bool { return strings.Count(phpEvents(t, file), " ") > i })
				}
			}
			pushdtest.Eventually(t, "all ends are told", func() bool { return strings.Count(phpEvents(t, file), " ") >= x.n })
			left := 0
			if x.verb == "" && !x.out {
				left = 1
			}
			phpAsk(free, "", fmt.Sprintf("%d in", left))
			for _, c := range in {
				c.Conn.Close()
			}
			pushdtest.Eventually(t, "they are gone", func() bool { return s.Status().Connections() == 1 })
			phpAsk(free, "", fmt.Sprintf("%d in", left))
			got := phpEvents(t, file)
			if x.n > 50 { // some of them may go before the next process is there
				got, want = phpSorted(got), phpSorted(want)
			}
			if got != want {
				t.Errorf("onClose of %s\nwant        %s\n%s", got, want, s.Log())
			}
		})
	}
}

func phpSorted(words string) string {
	list := strings.Fields(words)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestPHPCloseCodes: one that clients take for a broken protocol becomes 1011, and the
// log says so; none by the program is 1000.
func TestPHPCloseCodes(t *testing.T) {
	s, _ := phpServer(t, `<?php
$s = new Swoole\WebSocket\Server('127.0.0.1', 2346);
$s->on('message', fn ($s, $f) => $s->disconnect($f->fd, (int)$f->data, 'why'));
$s->start();
`)
	s.MustRun("start", "-d")
	for code, want := range map[string]int{"1000": 1000, "4999": 4999, "0": 1000, "999": 1011, "1005": 1011, "1006": 1011, "1015": 1011, "2999": 1011, "5000": 1011, "66536": 1011, "-1": 1011} {
		c := s.Dial("/")
		c.SendText(code)
		c.WantClose(want)
	}
	if !strings.Contains(s.Log(), "close code may not be sent") {
		t.Errorf("the log says:\n%s", s.Log())
	}
}
