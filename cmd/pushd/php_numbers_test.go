package main_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPNumbers: when PHP is killed, whom the program knew by number in an array is
// asked to come back, since nobody else knows; who is in none stays.
func TestPHPNumbers(t *testing.T) {
	t.Parallel()
	s, _ := phpServer(t, `<?php
$s = new Swoole\WebSocket\Server('127.0.0.1', 2346);
$users = [];
$rooms = new Swoole\Table(8);
$rooms->column('list', Swoole\Table::TYPE_STRING, 64);
$rooms->create();
$s->on('message', function ($s, $frame) {
    global $users;
    if ($frame->data === 'login') $users[$frame->fd] = 'Ann';
    $s->push($frame->fd, count($users) . ' ' . ($users[$frame->fd] ?? 'nobody'));
});
$s->start();
`)
	s.MustRun("start", "-d")
	ann, bob := s.Dial("/"), s.Dial("/")
	phpAsk(ann, "login", "1 Ann")
	phpAsk(bob, "who", "1 nobody")
	s.MustRun("reload")
	phpAsk(ann, "who", "1 Ann")
	phpAsk(bob, "who", "1 nobody")
	one := scripted{s, t}.idle()
	pushdtest.Eventually(t, "PHP has looked whom it knows", func() bool { one = scripted{s, t}.idle(); return one.Bound == 1 })
	phpMust(t, syscall.Kill(one.PID, syscall.SIGKILL))
	ann.WantClose(1012)
	want := "the process before was killed, and what it had in the table $rooms is lost"
	pushdtest.Eventually(t, "the log says what is lost", func() bool { return strings.Count(s.Log(), want) == 1 })
	phpAsk(bob, "who", "0 nobody")
}
