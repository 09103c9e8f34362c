package php_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/script"
)

// certificate writes one for 127.0.0.1 beside a program, c.pem and k.pem, and returns who trusts it.
func certificate(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	must(t, err)
	dir := filepath.Dir(file)
	must(t, os.WriteFile(filepath.Join(dir, "c.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "k.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// dial reaches a listener of PHP's own.
func dial(t *testing.T, port int) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), patience)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// TestInnerTLS: a Worker made in onWorkerStart speaks TLS where it says so, and
// nothing else; who does not come to the end of a handshake holds up nobody.
func TestInnerTLS(t *testing.T) {
	port := pushdtest.FreePort(t)
	file := program(t, fmt.Sprintf(`
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { Pushd\Handshake::$seconds = 0.01; };
$w->onWorkerStart = function () {
    foreach ([['ssl', []], ['ssl', ['local_cert' => __DIR__ . '/none.pem']], ['SSL', []]] as [$transport, $ssl]) {
        $no = new Worker('text://127.0.0.1:%[1]d', ['ssl' => $ssl]);
        $no->transport = $transport;
        try { $no->listen(); } catch (Exception $e) { echo $e->getMessage(), "\n"; }
    }
    $inner = new Worker('text://127.0.0.1:%[1]d', ['ssl' => ['local_cert' => __DIR__ . '/c.pem', 'local_pk' => __DIR__ . '/k.pem', 'verify_peer' => false]]);
    $inner->transport = 'ssl';
    $inner->onConnect = function ($c) { $c->send('secret'); $c->pauseRecv(); $c->resumeRecv(); };
    $inner->onMessage = function ($c, $data) {
        $data === 'much' ? $c->close(str_repeat('x', 9000000)) : $c->send("$data by $c->transport");
    };
    $inner->listen();
};
Worker::runAll();`, port))
	pool := certificate(t, file)
	h := serve(t, file, "start")
	for _, want := range []string{"transport = 'ssl' needs a certificate", "none.pem cannot be read", "there is no transport 'SSL'"} {
		h.says(want)
	}
	dial(t, port) // says nothing
	plain := dial(t, port)
	fmt.Fprint(plain, "hello\n")
	if got, _ := io.ReadAll(plain); strings.Contains(string(got), "secret") {
		t.Errorf("a client in the clear got %q", got)
	}
	h.says("TLS handshake with 127.0.0.1:")
	c := tls.Client(dial(t, port), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	r := bufio.NewReader(c)
	fmt.Fprint(c, "hello\n")
	for _, want := range []string{"secret\n", "hello by ssl\n"} {
		if got, err := r.ReadString('\n'); got != want {
			t.Fatalf("got %q, %v, want %q\n%s", got, err, want, h.log)
		}
	}
	fmt.Fprint(c, "much\n")
	if got, err := io.ReadAll(r); len(got) != 9000001 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	h.open(script.Open, 1, "")
	h.message(1, "soon")
	h.want()
	late := dial(t, port)
	if _, err := io.ReadAll(late); err != nil {
		t.Error("a handshake is waited for without an end: ", err)
	}
}

// TestClientTLS: a program that is a client of TLS waits for no server that says nothing.
func TestClientTLS(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	file := program(t, fmt.Sprintf(`
use Workerman\Connection\AsyncTcpConnection;
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    $trusts = ['ssl' => ['cafile' => __DIR__ . '/c.pem']];
    $none = new AsyncTcpConnection('ssl://%[1]s');
    $none->onError = function ($c, $code, $text) { Pushd\publish('x', $text); };
    $none->connect();
    $bad = new AsyncTcpConnection('ssl://%[2]s');
    $bad->onError = function ($c, $code, $text) { Pushd\publish('x', $text); };
    $bad->connect();
    $c = new AsyncTcpConnection('tcp://%[2]s', $trusts);
    $c->transport = 'ssl';
    $c->send("GET / HTTP/1.0\r\n\r\n");
    $c->onMessage = function ($c, $data) { Pushd\publish('x', substr($data, 0, 12)); Pushd\Handshake::$seconds = 0.01; $c->close(); };
    $c->connect();
    $w = new AsyncTcpConnection('ssl://%[1]s');
    $c->onClose = function () use ($w) { $w->connect(); };
    $w->onError = function ($c, $code, $text) { Pushd\publish('x', "late: $text"); };
};
Workerman\Worker::runAll();`, silent.Addr(), server.Listener.Addr()))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "c.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	h := serve(t, file, "start")
	var got []string
	for range 3 {
		got = append(got, h.next())
	}
	for _, want := range []string{"PUBLISH 0 x HTTP/1.0 404", "certificate verify failed", "late: TLS handshake with " + silent.Addr().String() + " failed: it took more than 0.01 s"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%q is not in %q\n%s", want, got, h.log)
		}
	}
}

// TestInnerStarts: run() of a Worker made in onWorkerStart begins it, listen() only listens.
func TestInnerStarts(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    foreach (['listen', 'run'] as $method) {
        $inner = new Worker('text://127.0.0.1:0');
        $inner->name = $method;
        $inner->onWorkerStart = function ($w) { echo "$w->name begins\n"; };
        $inner->$method();
        echo "$method has ", $inner->getMainSocket() ? "a socket\n" : "none\n";
    }
};
Worker::runAll();`), "start")
	h.says("run begins\nrun has a socket")
	h.says("listen has a socket")
	if strings.Contains(h.log.String(), "listen begins") {
		t.Errorf("listen() runs onWorkerStart:\n%s", h.log)
	}
}

// TestInnerUnix: a socket file that a process before has left is in nobody's way, and
// what is says so.
func TestInnerUnix(t *testing.T) {
	file := program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    foreach (['x.sock', 'start.php', 'none/x.sock', str_repeat('x', 120)] as $i => $name) {
        $inner = new Worker('text://' . __DIR__ . "/$name");
        $inner->transport = 'unix';
        $inner->onMessage = function ($c, $data) { $c->send("got $data"); };
        try { $inner->listen(); } catch (Exception $e) { echo $e->getMessage(), "\n"; }
    }
    echo "begun\n";
};
Worker::runAll();`)
	for range 2 {
		h := serve(t, file, "start")
		h.says("begun")
		dir := filepath.Dir(file)
		for _, want := range []string{"/start.php cannot be listened on: a file is in the way", "/none/x.sock cannot be listened on: " + dir + "/none cannot be written", "x cannot be listened on: the path has more than 107 bytes"} {
			if !strings.Contains(h.log.String(), want) {
				t.Errorf("%q is not said\n%s", want, h.log)
			}
		}
		c, err := net.DialTimeout("unix", filepath.Join(dir, "x.sock"), patience)
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(patience)))
		fmt.Fprint(c, "hello\n")
		if got, err := bufio.NewReader(c).ReadString('\n'); got != "got hello\n" {
			t.Errorf("got %q, %v\n%s", got, err, h.log)
		}
	}
}
