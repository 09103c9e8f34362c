package main_test

import (
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
	phpAsk(bob, "who", "0 nobody")
}
