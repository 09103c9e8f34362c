package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// phpSecret is a Worker behind TLS, as Workerman's manual writes one.
const phpSecret = `<?php
use Workerman\Worker;
$w = new Worker('websocket://127.0.0.1:2346', ['ssl' => ['local_cert' => 'cert.pem', 'local_pk' => '%s', 'verify_peer' => false]]);
$w->transport = 'ssl';
$w->onMessage = function ($c, $data) { $c->n = ($c->n ?? 0) + 1; $c->send("$data $c->n " . $c->getLocalPort()); };
Worker::runAll();
`

// TestPHPSecure: a program whose transport is ssl listens behind TLS, and its
// clients stay through reloads of the code and of the worker.
func TestPHPSecure(t *testing.T) {
	s, file := phpServer(t, fmt.Sprintf(phpSecret, "key.pem"))
	s.Secure = true
	dir := s.Dir // where it is typed
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	r := s.Run("start", "-d")
	if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, cert) {
		t.Fatalf("a start without the files exits %d, and names %s:\n%s%s", r.Code, cert, r.Stdout, r.Stderr)
	}
	testkit.NewCA(t).Write(cert, key, month, "push.example.com")
	s.MustRun("start", "-d")
	c := s.Dial("/")
	port := fmt.Sprint(s.Port)
	phpAsk(c, "a", "a 1 "+port)
	phpMust(t, os.Rename(key, filepath.Join(dir, "other.pem")))
	phpWrite(t, file, fmt.Sprintf(phpSecret, "other.pem"))
	s.MustRun("reload") // the worker's turn: another file
	phpAsk(c, "b", "b 2 "+port)
	s.MustRun("reload") // the program's
	phpAsk(c, "c", "c 3 "+port)
	phpWrite(t, file, strings.Replace(fmt.Sprintf(phpSecret, "other.pem"), "'verify_peer' => false", "'verify_peer' => true", 1))
	if r := s.Run("reload"); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "client_ca") {
		t.Errorf("verify_peer exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	phpAsk(c, "d", "d 4 "+port)
}
