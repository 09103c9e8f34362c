package php_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/protocol/script"
)

// TestHandshake: a program sees who comes before the 101, sends him away, adds
// headers to the answer, and what it says meanwhile comes behind it.
func TestHandshake(t *testing.T) {
	h := serve(t, program(t, `
use Workerman\Worker;
$w = new Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) {
    $c->onWebSocketConnect = function ($c, $request) {
        echo 'asks ', $_GET['token'], "\n";
        if ($_GET['token'] === 'throw') throw new Exception('a mistake');
        if ($_GET['token'] !== 't1') { $c->close(); return; }
        $c->headers = ['X-By: program', 'Sec-WebSocket-Protocol: chat'];
        $c->uid = 5;
        Pushd\bind($c, 5);
        $c->send('early');
    };
};
$w->onWebSocketConnected = function ($c, $request) { $c->send('late'); };
$w->onMessage = function ($c, $data) { $c->send("$c->uid $data"); };
$w->onClose = function ($c) { echo "gone\n"; };
Worker::runAll();`), "start")
	if !strings.Contains(strings.Join(h.welcome.Wants, ","), script.WantHandshake) {
		t.Fatalf("wants %q", h.welcome.Wants)
	}
	ask := func(id uint64, target, more string) {
		h.openAt(script.Handshake, id, "", "websocket://0.0.0.0:2346", target, "GET "+target+" HTTP/1.1\r\nHost: x\r\n"+more+"\r\n")
	}
	ask(1, "/?token=t1", "Sec-WebSocket-Protocol: other, chat\r\n")
	h.want("ACCEPT/101 1 X-By: program\r\nSec-WebSocket-Protocol: chat", "BIND 1 5", "SEND 1 early", `SESSION 1 {"uid":5}`)
	h.openAt(script.Open, 1, "", "websocket://0.0.0.0:2346", "/?token=t1", "GET /?token=t1 HTTP/1.1\r\nHost: x\r\n\r\n")
	h.message(1, "hi")
	h.want("SEND 1 late", "SEND 1 5 hi")
	ask(2, "/?token=t1", "") // who has not offered a protocol gets none
	h.want("ACCEPT/101 2 X-By: program", "BIND 2 5", "SEND 2 early", `SESSION 2 {"uid":5}`)
	h.closed(2) // and has left meanwhile
	h.want()
	h.says("gone")
	ask(3, "/?token=no", "")
	h.want("ACCEPT/403 3 Forbidden", "END/1000 3") // who is not there needs no END, which does nothing
	ask(4, "/?token=throw", "")
	h.want("ACCEPT/403 4 Forbidden")
	h.says("Exception: a mistake")
	if n := strings.Count(h.log.String(), "gone"); n != 3 {
		t.Errorf("%d were told to be gone", n)
	}
	plain := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onConnect = function ($c) { $c->send('hi'); };
Workerman\Worker::runAll();`), "start")
	if strings.Contains(strings.Join(plain.welcome.Wants, ","), script.WantHandshake) {
		t.Error("a program that does not look at handshakes is asked about them")
	}
}

// TestPings: a ping of a program's own is no message, and its callback for pongs runs:
// a program closes those who do not answer.
func TestPings(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onWebSocketPong = function ($c, $data) { $c->send("pong $data"); };
$w->onMessage = function ($c, $data) {
    $was = isset($c->websocketType) ? $c->websocketType : '';
    $c->websocketType = "\x89";
    $c->send($data);
    $c->websocketType = $was;
    $c->send('pinged ' . bin2hex($c->websocketType));
};
Workerman\Worker::runAll();`), "start")
	h.message(1, "x")
	var sent []string
	for len(sent) < 2 {
		if o := h.next(); strings.HasPrefix(o, "SEND") {
			sent = append(sent, o)
		} else if strings.HasPrefix(o, "SESSION") {
			t.Errorf("what each has is a property of its own: %q", o)
		}
	}
	if want := []string{"SEND 1 pinged 81", "SEND 1 pong x"}; !slices.Equal(sent, want) {
		t.Errorf("got %q, want %q", sent, want)
	}
}

// TestRawFrames: what a program has framed by hand is told to pushd.
func TestRawFrames(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    if ($data === 'bin') { $c->websocketType = Workerman\Protocols\Websocket::BINARY_TYPE_ARRAYBUFFER; $c->send('b'); return; }
    if ($data === 'two') { $c->send("\x89\x00\x81\x03abc\x82\x7e" . pack('n', 200) . str_repeat('x', 200), true); return; }
    if ($data === 'bad') { foreach (["\x81", "\x81\x05abc", "plain text", "\x01\x01a", "\x81\xff", "\x81\x7f" . str_repeat("\xff", 8)] as $x) $c->send($x, true); $c->send('after'); return; }
    $c->close("\x88\x05" . pack('n', 4001) . 'why', true);
    $c->send('too late');
};
Workerman\Worker::runAll();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "two")
	h.want("SEND 1 abc", "SEND+1 1 "+strings.Repeat("x", 200))
	h.message(1, "bad")
	h.want("SEND 1 after")
	h.says("no whole frame")
	h.message(1, "close")
	h.want("END/4001 1 why")
	h.open(script.Open, 2, "")
	h.message(2, "bin")
	if got := h.done(); len(got) == 0 || got[0] != "SEND+1 2 b" {
		t.Errorf("%q", got)
	}
}

const upgrades = `
namespace Protocols {
    class First {
        static function input($b, $c) { $at = strpos($b, ';'); if ($at === false) return 0; if (substr($b, 0, $at) === 'up') { $c->consumeRecvBuffer($at + 1); $c->protocol = 'Protocols\Second'; return 0; } return $at + 1; }
        static function decode($b, $c) { return rtrim($b, ';'); }
        static function encode($b, $c) { return "1<$b>"; }
    }
    class Second {
        static function input($b, $c) { return strlen($b) < 2 ? 0 : 2; }
        static function decode($b, $c) { return $b; }
        static function encode($b, $c) { return "2<$b>"; }
    }
}
namespace {
    $w = new Workerman\Worker('First://0.0.0.0:2346');
    $w->onMessage = function ($c, $data) { if ($data === '00') $c->protocol = null; $c->send($data); };
    Workerman\Worker::runAll();
}`

// TestUpgrade: a protocol may put another in its place, and that outlives PHP.
func TestUpgrade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "start.php")
	must(t, os.WriteFile(file, []byte("<?php"+upgrades), 0o644))
	h := serve(t, file, "start")
	tell := func(op script.Op, session string) {
		h.openAt(op, big, session, "tcp://0.0.0.0:2346", "", "")
	}
	tell(script.Open, "")
	h.message(big, "a;up;")
	h.message(big, "xyz")
	session := `{"pushd.protocol":"Protocols\\Second","pushd.rest":"z"}`
	got := h.done()
	if len(got) != 3 || got[0] != fmt.Sprint("SEND ", big, " 1<a>") || got[1] != fmt.Sprint("SEND ", big, " 2<xy>") || !strings.HasPrefix(got[2], "SESSION") {
		t.Fatalf("%q\n%s", got, h.log)
	}
	h = serve(t, file, "start")
	tell(script.Resume, session)
	h.message(big, "w00raw bytes;")
	if got := h.done(); len(got) != 4 || got[0] != fmt.Sprint("SEND ", big, " 2<zw>") || got[1] != fmt.Sprint("SEND ", big, " 00") || got[2] != fmt.Sprint("SEND ", big, " raw bytes;") {
		t.Errorf("%q\n%s", got, h.log)
	}
}

// TestUpgradeByHand: what a protocol that the program has put there keeps in websocketType
// is the connection's, also where it is what pushd's own WebSocket has anyway.
func TestUpgradeByHand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "start.php")
	must(t, os.WriteFile(file, []byte(`<?php
namespace Protocols {
    class Framed {
        static function input($b, $c) { $c->websocketType = $c->websocketType ?? "\x81"; return strlen($b); }
        static function decode($b, $c) { return $b; }
        static function encode($b, $c) { return bin2hex($c->websocketType) . $b; }
    }
}
namespace {
    $w = new Workerman\Worker('tcp://0.0.0.0:2346');
    $w->onMessage = function ($c, $data) {
        if ($data === 'up') { $c->protocol = Protocols\Framed::class; Protocols\Framed::input($data, $c); }
        if ($data === 'binary') $c->websocketType = "\x82";
        $c->send(" $data");
    };
    Workerman\Worker::runAll();
}`), 0o644))
	h := serve(t, file, "start")
	h.bytes(script.Open, 1, "")
	session := ""
	for _, x := range []struct{ come, want string }{{"plain", "SEND 1  plain"}, {"up", "SEND 1 81 up"}, {"text", "SEND 1 81 text"}, {"binary", "SEND 1 82 binary"}} {
		h.message(1, x.come)
		got := h.done()
		if len(got) == 0 || got[0] != x.want {
			t.Fatalf("%q: got %q, want %q\n%s", x.come, got, x.want, h.log)
		}
		if x.come == "up" {
			session, _ = strings.CutPrefix(got[len(got)-1], "SESSION 1 ")
		}
	}
	h = serve(t, file, "start")
	h.bytes(script.Resume, 1, session)
	h.message(1, "again")
	h.want("SEND 1 81 again")
}

// TestUpgradeText: so does pushd's own text, where the program does that.
func TestUpgradeText(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('text://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { if ($data === 'raw') $c->protocol = null; $c->send("$data " . $c->protocol); };
Workerman\Worker::runAll();`), "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.message(1, "a\nraw\nrest\n")
	h.want("SEND 1 a Workerman\\Protocols\\Text", "SEND 1 raw", "SEND 1 rest", `SESSION 1 {"pushd.protocol":""}`)
}

// TestTransports: text over UDP and over a unix socket are PHP's to cut.
func TestTransports(t *testing.T) {
	file := program(t, `
use Workerman\Worker;
$u = new Worker('text://0.0.0.0:55858'); $u->name = 'finder'; $u->transport = 'udp';
$u->onMessage = function ($c, $data) { $c->send("got $data"); };
$x = new Worker('text:///run/x.sock'); $x->name = 'local'; $x->transport = 'unix';
$t = new Worker('text://0.0.0.0:55858'); $t->name = 'plain';
Worker::runAll();`)
	p, out := plan(t, file)
	var got []string
	for _, g := range p["groups"].([]any) {
		got = append(got, fmt.Sprint(g.(map[string]any)["listen"]))
	}
	if want := "[udp://0.0.0.0:55858] [unix:///run/x.sock] [text://0.0.0.0:55858]"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q\n%s", got, want, out)
	}
	h := serve(t, file, "finder")
	h.write(script.AppendPacket(nil, script.Packet, "192.0.2.1:5", "udp://0.0.0.0:55858", []byte("a\nb\nrest")))
	h.want("REPLY 0 192.0.2.1:5 udp://0.0.0.0:55858 got a", "REPLY 0 192.0.2.1:5 udp://0.0.0.0:55858 got b")
}

// TestBeside: classes are found beside the file that makes the Worker, as
// Workerman 3 and 4 do, and callbacks may be protected methods. What Workerman itself
// would call and pushd does not is named.
func TestBeside(t *testing.T) {
	file := program(t, `
class Mine extends Workerman\Worker {
    function __construct($s) { parent::__construct($s); $this->onWorkerStart = [$this, 'begin']; }
    public function acceptConnection($socket) { echo "never\n"; }
    protected function begin() { echo Server\World::hello(), "\n"; }
}
$w = new Mine('websocket://0.0.0.0:2346');
echo class_exists('Server\Nobody') ? 'there' : 'not there', "\n";
Workerman\Worker::runAll();`)
	must(t, os.Mkdir(filepath.Join(filepath.Dir(file), "Server"), 0o755))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "Server/World.php"), []byte(`<?php namespace Server; class World { static function hello() { return 'hello of the world'; } }`), 0o644))
	h := serve(t, file, "start")
	h.says("hello of the world")
	h.says("not there")
	h.says("pushd: Mine::acceptConnection() is not called: ")
	if n := strings.Count(h.log.String(), "is not called"); n != 1 {
		t.Errorf("%d methods are named\n%s", n, h.log)
	}
}

// TestInnerWebSocket: a Worker of WebSocket that is made in onWorkerStart works
// without a Workerman of the program's own.
func TestInnerWebSocket(t *testing.T) {
	address := pushdtest.FreeAddr(t)
	serve(t, program(t, fmt.Sprintf(`
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onWorkerStart = function () {
    $inner = new Workerman\Worker('websocket://%s');
    $inner->onWebSocketConnect = function ($c) { $c->who = $_GET['who']; $c->headers = ['X-By: inner']; };
    $inner->onMessage = function ($c, $data) { $c->send("$c->who $data" . isset($c->websocketType)); };
    $inner->listen();
};
Workerman\Worker::runAll();`, address)), "start")
	c, err := net.Dial("tcp", address)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	// The handshake of RFC 6455, section 1.3, then "hi" in two frames with a ping between them, masked with 0.
	_, err = fmt.Fprintf(c, "GET /?who=al HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"+
		"\x01\x81\x00\x00\x00\x00h\x89\x81\x00\x00\x00\x00p\x80\x81\x00\x00\x00\x00i\x88\x82\x00\x00\x00\x00\x03\xe8")
	must(t, err)
	var got strings.Builder
	for b := make([]byte, 4096); ; {
		n, err := c.Read(b)
		got.Write(b[:n])
		if err != nil {
			break
		}
	}
	for _, want := range []string{"HTTP/1.1 101 ", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "X-By: inner\r\n", "\r\n\r\n\x8a\x01p\x81\x06al hi1\x88\x02\x03\xe8"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%q is not in %q", want, got.String())
		}
	}
}

// TestLong: what is longer than a frame goes in pieces, or is refused with a line;
// the process that says it lives on.
func TestLong(t *testing.T) {
	const code = `
use Workerman\Worker;
$w = new Worker('%s://0.0.0.0:2346');
$w->onError = function ($c, $code, $text) { echo "error $code $text\n"; };
$w->onMessage = function ($c, $data) use ($w) {
    if ($data === 'near') { foreach ($w->connections as $x) $x->send(str_repeat('y', Pushd\Link::$most - 19)); return; }
    var_dump($c->send(str_repeat('x', 3000000)));
    if ($data === 'all') { Pushd\broadcast(str_repeat('x', 3000000)); $c->send('after'); }
};
Worker::runAll();`
	h := serve(t, program(t, fmt.Sprintf(code, "tcp")), "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.message(1, "x")
	n := 0
	for _, o := range h.done() {
		n += len(strings.TrimPrefix(o, "SEND 1 "))
	}
	if n != 3000000 {
		t.Errorf("%d bytes", n)
	}
	h = serve(t, program(t, fmt.Sprintf(code, "websocket")), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.message(1, "all")
	h.want("SEND 1 after")
	h.says("error 2 message too long")
	h.says("3000000 bytes in one piece are more than pushd takes")
	h.message(1, "near")
	if got := h.done(); len(got) != 2 || !strings.HasPrefix(got[0], "SEND 1 y") || !strings.HasPrefix(got[1], "SEND 2 y") {
		t.Errorf("%d orders", len(got))
	}
}
