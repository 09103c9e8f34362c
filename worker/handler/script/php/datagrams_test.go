package php_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/script"
)

// datagrams is a protocol class, as Workerman's programs have them for UDP.
const datagrams = `
namespace Protocols {
    class Gps {
        static function input($b, $c) { return ['n' => -1, 'f' => false, '0' => 0, '4' => 4][$b[0]] ?? 512; }
        static function decode($b, $c) { return $b[0] === '!' ? false : "($b)"; }
        static function encode($b, $c) { return $b === 'nothing' ? '' : "<$b>"; }
    }
    class Whole {
        static function decode($b, $c) { return $b === '!' ? false : "($b)"; }
        static function encode($b, $c) { return "<$b>"; }
    }
}
namespace {
    use Workerman\Worker;
`

// TestDatagrams: a protocol class gets what is there of a datagram, and what it says
// is wrong does not reach the program.
func TestDatagrams(t *testing.T) {
	file := program(t, datagrams+`
    foreach (['gps' => 2346, 'whole' => 2347] as $protocol => $port) {
        $w = new Worker("$protocol://0.0.0.0:$port");
        $w->name = $protocol;
        $w->transport = 'udp';
        $w->onMessage = function ($c, $data) { $c->send(var_export($data, true)); };
    }
    Worker::runAll();
}`)
	for _, x := range []struct {
		name, group, come string
		want              []string
	}{
		{"longer than it is", "gps", "one", []string{"<'(one)'>"}},
		{"several", "gps", "4bcd4efgend", []string{"<'(4bcd)'>", "<'(4efg)'>", "<'(end)'>"}},
		{"wrong", "gps", "!one", nil},
		{"wrong, and one more", "gps", "4bcd!", []string{"<'(4bcd)'>"}},
		{"no more", "gps", "4bcd0fgh", []string{"<'(4bcd)'>"}},
		{"negative", "gps", "4bcdnfgh", []string{"<'(4bcd)'>"}},
		{"false", "gps", "4bcdfghi", []string{"<'(4bcd)'>"}},
		{"whole", "whole", "one", []string{"<'(one)'>"}},
		{"whole and wrong", "whole", "!", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			h := serve(t, file, x.group)
			h.write(script.AppendPacket(nil, script.Packet, "192.0.2.1:99", "udp://0.0.0.0:2346", []byte(x.come)))
			for i, text := range x.want {
				x.want[i] = "REPLY 0 192.0.2.1:99 udp://0.0.0.0:2346 " + text
			}
			h.want(x.want...)
		})
	}
}

// TestInnerDatagrams: so it is with a socket of PHP's own, of a Worker that is made
// in onWorkerStart and of a client.
func TestInnerDatagrams(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	h := serve(t, program(t, datagrams+fmt.Sprintf(`
    $w = new Worker('websocket://0.0.0.0:2346');
    $w->onWorkerStart = function () {
        $inner = new Worker('gps://127.0.0.1:0');
        $inner->transport = 'udp';
        $inner->onMessage = function ($c, $data) { $c->send("inner $data"); };
        $inner->listen();
        $at = stream_socket_get_name($inner->getMainSocket(), false);
        foreach (['whole', 'udp'] as $scheme) {
            $a = new Workerman\Connection\AsyncUdpConnection("$scheme://%s");
            $a->onMessage = function ($a, $data) { $a->send("client $data"); };
            $a->send("$scheme $at");
        }
    };
    Worker::runAll();
}`, c.LocalAddr())), "start")
	said := func(want string) net.Addr {
		t.Helper()
		b := make([]byte, 100)
		n, from, err := c.ReadFrom(b)
		if got := string(b[:n]); err != nil || got != want {
			t.Fatalf("got %q, %v, want %q\n%s", got, err, want, h.log)
		}
		return from
	}
	b := make([]byte, 100)
	n, client, err := c.ReadFrom(b)
	must(t, err)
	var at string
	if _, err := fmt.Sscanf(string(b[:n]), "<whole %s", &at); err != nil {
		t.Fatalf("a client with a protocol says %q", b[:n])
	}
	at = at[:len(at)-1]
	plain := said("udp " + at)
	inner, err := net.ResolveUDPAddr("udp", at)
	must(t, err)
	for _, x := range []struct {
		to         net.Addr
		come, want string
	}{
		{inner, "one", "<inner (one)>"},
		{client, "two", "<client (two)>"},
		{plain, "three", "client three"},
	} {
		_, err := c.WriteTo([]byte(x.come), x.to)
		must(t, err)
		said(x.want)
	}
}
