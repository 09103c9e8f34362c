package main_test

import "testing"

// TestPHPFoul: what a callback can do to the socket, the process and others costs its
// own connection at most, and the next one is served.
func TestPHPFoul(t *testing.T) {
	s, _ := phpServer(t, `<?php
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:2346');
$w->onMessage = function ($c, $data) {
    $pushd = fopen('php://fd/3', 'r+');
    switch ($data) {
        case 'garbage': fwrite($pushd, str_repeat("\xff", 4000)); break;
        case 'huge': fwrite($pushd, pack('VCCvP', 0xffffffff, Pushd\Link::SEND, 0, 0, 1)); break;
        case 'core': posix_kill(getmypid(), SIGSEGV); sleep(9); break;
        case 'fork': if (pcntl_fork() === 0) { $c->send('of a child'); exit(0); } break;
        case 'others': Pushd\Link::send(12345, 'x'); Pushd\Link::end(12345, 4000); Pushd\Link::frame(Pushd\Link::SESSION, 12345, 'x'); break;
        case 'closed': $c->close(); $c->send('late'); return;
    }
    $c->send($data);
};
Worker::runAll();
`)
	s.MustRun("start", "-d")
	other := s.Dial("/")
	phpAsk(other, "before", "before")
	for _, x := range []struct {
		what string
		code int // 0: it is answered
	}{{"garbage", 1011}, {"huge", 1011}, {"core", 1011}, {"fork", 0}, {"others", 0}, {"closed", 1000}} {
		c := s.Dial("/")
		c.SendText(x.what)
		if x.code == 0 {
			c.WantText(x.what)
		} else {
			c.WantClose(x.code)
		}
		phpAsk(other, "after "+x.what, "after "+x.what)
	}
}
