package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPHPMuch: a callback sends 20 MB to a client that does not read. It is not cut,
// as it would not be by Workerman: it gets all when it reads, or is closed if the
// process that has the rest ends before.
func TestPHPMuch(t *testing.T) {
	s, _ := phpServer(t, `<?php
use Workerman\Worker;
$w = new Worker('tcp://127.0.0.1:2346');
$w->onMessage = function ($c, $data) {
    echo "$data said " . json_encode([$c->send(str_repeat('0123456789abcdef', 1250000)), $c->send('more')]) . "\n";
    if ($data === 'close') $c->close();
};
$w->onBufferFull = function ($c) { echo "slow\n"; };
$w->onBufferDrain = function ($c) { echo "drained\n"; };
Worker::runAll();
`)
	s.MustRun("start", "-d")
	dial := func(word string) net.Conn {
		tcp, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		phpMust(t, err)
		t.Cleanup(func() { tcp.Close() })
		phpMust(t, tcp.SetDeadline(time.Now().Add(2*time.Minute)))
		phpMust(t, tcp.(*net.TCPConn).SetReadBuffer(256<<10)) // whatever the machine would give it
		_, err = tcp.Write([]byte(word))
		phpMust(t, err)
		logged(t, s, word+" said [null,false]")
		return tcp
	}
	whole := bytes.Repeat([]byte("0123456789abcdef"), 1250000)
	c := dial("stay")
	got := make([]byte, len(whole))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("not what was sent: %v", err)
	}
	logged(t, s, "drained")
	if got, err := io.ReadAll(dial("close")); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes before the end, then %v", len(got), err)
	}
	// Those who wait for what only the process had are told so by the end.
	c = dial("killed")
	phpMust(t, syscall.Kill(scripted{s, t}.scripts()[0].PID, syscall.SIGKILL))
	if n, _ := io.Copy(io.Discard, c); n >= int64(len(whole)) {
		t.Errorf("%d bytes from a process that was killed", n)
	}
	c = dial("reloaded")
	s.MustRun("reload")
	if n, _ := io.Copy(io.Discard, c); n >= int64(len(whole)) {
		t.Errorf("%d bytes from a process that was replaced", n)
	}
	if strings.Count(s.Log(), "slow\n") != 4 {
		t.Errorf("onBufferFull did not run once for each:\n%s", s.Log())
	}
}

func logged(t *testing.T, s *pushdtest.Server, words string) {
	t.Helper()
	pushdtest.Eventually(t, words, func() bool { return strings.Contains("\n"+s.Log(), words) }) // a line may be the first
}
