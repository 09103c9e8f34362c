package main_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
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
	if r := s.Run("reload"); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "cafile") {
		t.Errorf("verify_peer exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	phpAsk(c, "d", "d 4 "+port)
}

// TestPHPLimits: what a program of Swoole sets holds: whose certificate lets a client
// in, how many there may be, and how long a message may be.
func TestPHPLimits(t *testing.T) {
	t.Parallel()
	const code = `<?php
$s = new Swoole\WebSocket\Server('127.0.0.1', 2346, SWOOLE_PROCESS, SWOOLE_SOCK_TCP | SWOOLE_SSL);
$s->set(['ssl_cert_file' => 'cert.pem', 'ssl_key_file' => 'key.pem', 'ssl_verify_peer' => true, 'ssl_client_cert_file' => 'ca.pem', 'max_conn' => 7, 'package_max_length' => 2000]);
$s->on('message', function ($s, $f) {});
$s->on('request', function ($request, $response) use ($s) { $response->end('in'); $s->close($request->fd); });
$s->start();`
	s, file := phpServer(t, code)
	s.Secure = true
	ca := testkit.NewCA(t)
	ca.Write(filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem"), month, "push.example.com")
	phpMust(t, os.WriteFile(filepath.Join(s.Dir, "ca.pem"), ca.PEM(), 0o600))
	if out := s.MustRun("start", "-d"); !strings.Contains(out, "room for 7 connections") {
		t.Errorf("max_conn is not said:\n%s", out)
	}
	planned := func(limits ...string) {
		t.Helper()
		plan := strings.ReplaceAll(s.MustRun("plan", "--json"), " ", "")
		for _, limit := range limits {
			if !strings.Contains(plan, limit) {
				t.Errorf("%s is not in the plan:\n%s", limit, plan)
			}
		}
	}
	planned(`"max_message":2000`, `"max_body":2000`)
	phpWrite(t, file, strings.Replace(code, "=> 2000", "=> 9000000", 1)) // a form may have more than by default, a message not
	planned(`"max_message":1048576`, `"max_body":9000000`)
	ask := func(more ...tls.Certificate) (string, error) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: pushdtest.Timeout}, "tcp", fmt.Sprintf("127.0.0.1:%d", s.Port),
			&tls.Config{RootCAs: ca.Pool(), ServerName: "push.example.com", Certificates: more})
		phpMust(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(2 * pushdtest.Timeout))
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: push.example.com\r\n\r\n")
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil {
			_, err = io.Copy(io.Discard, in) // the program closes it
		}
		return string(body), err
	}
	mine, err := tls.X509KeyPair(ca.Issue(month, []string{"client.example.com"}))
	phpMust(t, err)
	if got, err := ask(mine); got != "in" || err != nil {
		t.Errorf("with a certificate: %q, %v", got, err)
	}
	if got, err := ask(); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
		t.Errorf("without a certificate: %q, %v", got, err)
	}
}
