package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPPackets: a server of Swoole gets whole packets; one that is not whole goes
// along to the next program and the next worker, however long it is. When PHP is
// killed, a short one outlives it, and a client of a long one hears that it is lost.
func TestPHPPackets(t *testing.T) {
	t.Parallel()
	const program = `<?php
$s = new Swoole\Server('127.0.0.1', 2346);
$s->set(['open_eof_split' => true, 'package_eof' => "\n"]);
$s->on('receive', function ($s, $fd, $reactor, $data) { $s->send($fd, strlen($data) . "\n"); });
$s->start();
`
	s, file := phpServer(t, program)
	s.MustRun("start", "-d")
	var clients [3]net.Conn
	var answers [3]*bufio.Reader
	for i := range clients {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port), pushdtest.Timeout)
		phpMust(t, err)
		defer c.Close()
		phpMust(t, c.SetDeadline(time.Now().Add(4*pushdtest.Timeout)))
		clients[i], answers[i] = c, bufio.NewReader(c)
	}
	say := func(i int, text string) {
		t.Helper()
		_, err := io.WriteString(clients[i], text)
		phpMust(t, err)
	}
	wants := func(i, bytes int) {
		t.Helper()
		if got, err := answers[i].ReadString('\n'); err != nil || got != fmt.Sprintln(bytes) {
			t.Fatalf("client %d: %q, %v, want %d\n%s", i, got, err, bytes, s.Log())
		}
	}
	const some, many = 5, 300000
	begin := func() {
		t.Helper()
		say(0, "1234\nhalf")
		say(1, "1234\n"+strings.Repeat("x", many))
		wants(0, some)
		wants(1, some)
		say(2, "1234\n")
		wants(2, some)
	}
	end := func(i, bytes int) {
		t.Helper()
		say(i, "\n")
		wants(i, bytes)
	}
	begin()
	phpWrite(t, file, program+"// new\n")
	s.MustRun("reload")
	end(0, some)
	end(1, many+1)
	begin()
	s.MustRun("reload", "--all")
	end(0, some)
	end(1, many+1)

	begin()
	phpMust(t, syscall.Kill(scripted{s, t}.scripts()[0].PID, syscall.SIGKILL))
	end(0, some)
	if got, err := answers[1].ReadString('\n'); err == nil {
		t.Errorf("half of what it says is lost, and it gets %q", got)
	}
	say(2, "1234\n")
	wants(2, some)
}
