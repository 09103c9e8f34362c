package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// packets is a server of Swoole that says what it gets as one, with its settings.
func packets(settings string) string {
	return `
$server = new Swoole\Server('0.0.0.0', 2346);
$server->set([` + settings + `]);
$server->on('receive', function ($server, $fd, $reactor, $data) {
    if ($data === "nap\n") Swoole\Coroutine::sleep(0.01);
    if ($data === "end\n") $server->close($fd);
    $server->send($fd, strlen($data) < 40 ? "<$data>" : strlen($data));
});
$server->start();`
}

// bytes tells of a connection of TCP, new or as it came from another process.
func (h *host) bytes(op script.Op, id uint64, session string) {
	h.t.Helper()
	h.openAt(op, id, session, "tcp://0.0.0.0:2346", "", "")
}

// TestSwoolePackets: on('receive') gets what set() says is a packet, however the
// bytes come.
func TestSwoolePackets(t *testing.T) {
	length := `'open_length_check' => true, 'package_length_type' => 'n', 'package_length_offset' => 1, 'package_body_offset' => 3`
	for _, x := range []struct {
		name, settings string
		come, want     []string // an empty want: nothing is said
	}{
		{"as it comes", "", []string{"a\r\nb"}, []string{"<a\r\nb>"}},
		{"split", `'open_eof_split' => true`, []string{"a\r\nb\r\nc\r", "\nd"}, []string{"<a\r\n>", "<b\r\n>", "<c\r\n>"}},
		{"own end", `'open_eof_check' => true, 'open_eof_split' => true, 'package_eof' => "END"`, []string{"aENDbE", "N", "Dc"}, []string{"<aEND>", "<bEND>"}},
		{"check", `'open_eof_check' => true`, []string{"a\r\nb", "\r\n", "c\r\n"}, []string{"<a\r\nb\r\n>", "<c\r\n>"}},
		{"order", `'open_eof_split' => true, 'package_eof' => "\n"`, []string{"nap\nb\n"}, []string{"<b\n>", "<nap\n>"}},
		{"closed", `'open_eof_split' => true, 'package_eof' => "\n"`, []string{"a\nend\nb\n", "c\n"}, []string{"<a\n>", "END/1000"}},
		{"length", length, []string{"X\x00\x02hiY", "\x00", "\x03yo", "uZ\x00\x00"}, []string{"<X\x00\x02hi>", "<Y\x00\x03you>", "<Z\x00\x00>"}},
		{"length in all", `'open_length_check' => true, 'package_length_type' => 'n'`, []string{"\x00\x02\x00\x03a"}, []string{"<\x00\x02>", "<\x00\x03a>"}},
		{"wrong", `'open_length_check' => true`, []string{"\x00\x00\x00\x05a\x00\x00\x00\x00\x00\x00\x00\x05a", "\x00\x00\x00\x05a"}, []string{"<\x00\x00\x00\x05a>", "END/1000"}},
		{"long", length + `, 'package_max_length' => 10`, []string{"X\x00\x08"}, []string{"END/1000"}},
		{"no end", `'open_eof_split' => true, 'package_max_length' => 10`, []string{"12345678", "9\r\n"}, []string{"END/1000"}},
		{"no end yet", `'open_eof_split' => true, 'package_max_length' => 10`, []string{"1234567890", "1"}, []string{"END/1000"}},
		{"function", `'open_length_check' => true, 'package_length_func' => function ($data) { return strlen($data) < 2 ? 0 : (ord($data[0]) === 33 ? -1 : 2 + ord($data[1]) - 48); }`,
			[]string{"a1xb", "2yyc0!0", "d0"}, []string{"<a1x>", "<b2yy>", "<c0>", "END/1000"}},
		{"mqtt", `'open_mqtt_protocol' => true`, []string{"\xc0\x00\x30\x81", "\x01" + strings.Repeat("x", 129) + "\xc0", "\x00\x30\xff\xff\xff\xff\x01"}, []string{"<\xc0\x00>", "132", "<\xc0\x00>", "END/1000"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			h := serve(t, program(t, packets(x.settings)), "start")
			h.bytes(script.Open, 1, "")
			var got []string
			for _, piece := range x.come {
				h.message(1, piece)
				got = append(got, h.done()...)
			}
			for len(got) == 0 || x.name == "order" && !slices.Contains(got, "SEND 1 <nap\n>") {
				got = append(got, h.next())
			}
			said := slices.DeleteFunc(got, func(o string) bool { return !strings.HasPrefix(o, "SEND 1 ") && !strings.HasPrefix(o, "END/") })
			for i, o := range said {
				said[i] = strings.TrimSuffix(strings.TrimPrefix(o, "SEND 1 "), " 1")
			}
			if !slices.Equal(said, x.want) {
				t.Errorf("got %q, want %q\n%s", said, x.want, h.log)
			}
		})
	}
}

// TestPacketsOutlive: what has come of a packet goes along to the next process. A
// session has what is short as it comes, so that it outlives a crash too; of what is
// longer pushd knows that it is lost then.
func TestPacketsOutlive(t *testing.T) {
	file := program(t, packets(`'open_eof_split' => true, 'package_eof' => "\n"`))
	h := serve(t, file, "start")
	for id := uint64(1); id <= 4; id++ {
		h.bytes(script.Open, id, "")
	}
	long, longer := strings.Repeat("x", 2000), strings.Repeat("y", 600000)
	h.message(1, "he")
	h.want(`SESSION 1 {"pushd.rest":"he"}`)
	h.message(2, long)
	h.want("HELD+1 2")
	for range 50 { // a piece costs no copy of all that there is
		h.message(2, "x")
		h.want()
	}
	h.message(3, longer)
	h.want("HELD+1 3")
	h.message(4, long+"\nab\n")
	h.want("SEND 4 2001", "SEND 4 <ab\n>")
	h.message(4, "\xff")
	h.want(`SESSION 4 "YToxOntzOjEwOiJwdXNoZC5yZXN0IjtzOjE6Iv8iO30="`)
	orders, carried := h.stop(script.Successor)
	orders = slices.DeleteFunc(orders, func(o string) bool { return strings.HasPrefix(o, "DONE ") })
	if want := []string{"HELD 2", "HELD 3"}; !slices.Equal(orders, want) {
		t.Fatalf("orders at the end %q, want %q", orders, want)
	}
	conns, data, err := script.ParseCarry(carried)
	must(t, err)
	if conns.Len() != 2 {
		t.Fatalf("%d connections carried", conns.Len())
	}
	h = serve(t, file, "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{2}, data)) // the third has left
	h.bytes(script.Resume, 1, `{"pushd.rest":"he"}`)
	h.bytes(script.Resume, 2, "")
	h.bytes(script.Resume, 4, `"YToxOntzOjEwOiJwdXNoZC5yZXN0IjtzOjE6Iv8iO30="`)
	h.want("HELD+1 2")
	h.message(1, "llo\n")
	h.want("SEND 1 <hello\n>", "SESSION 1")
	h.message(2, "\n")
	h.want("SEND 2 2051", "HELD 2")
	h.message(4, "\n")
	h.want("SEND 4 <\xff\n>", "SESSION 4")
}

// TestPacketsOfAPort: a port with settings of its own does not take the server's.
func TestPacketsOfAPort(t *testing.T) {
	h := serve(t, program(t, `
$server = new Swoole\Server('0.0.0.0', 2346);
$server->set(['open_eof_split' => true]);
$say = function ($server, $fd, $reactor, $data) { $server->send($fd, "<$data>"); };
$server->on('receive', $say);
$port = $server->listen('0.0.0.0', 2347, SWOOLE_SOCK_TCP);
$port->set(['open_length_check' => true, 'package_body_offset' => 4]);
$server->start();`), "start")
	h.bytes(script.Open, 1, "")
	h.openAt(script.Open, 2, "", "tcp://0.0.0.0:2347", "", "")
	h.message(1, "a\r\n")
	h.message(2, "\x00\x00\x00\x03\r\na")
	h.want("SEND 1 <a\r\n>", "SEND 2 <\x00\x00\x00\x03\r\na>")
}

// TestPacketsBesideMuch: what has come of a packet, or behind a pause, is given to the next
// process, also beside properties too large for a session.
func TestPacketsBesideMuch(t *testing.T) {
	file := program(t, `
namespace Protocols {
    class Lines {
        static function input($b, $c) { $at = strpos($b, ';'); return $at === false ? 0 : $at + 1; }
        static function decode($b, $c) { return rtrim($b, ';'); }
        static function encode($b, $c) { return $b; }
    }
}
namespace {
    $w = new Workerman\Worker('lines://0.0.0.0:2346');
    $w->onMessage = function ($c, $data) { if ($data === 'big') $c->big = str_repeat('x', 65100); if ($data === 'pause') $c->pauseRecv(); if ($data === 'one' || $data === 'hello') $c->send($data); };
    Workerman\Worker::runAll();
}`)
	h := serve(t, file, "start")
	h.bytes(script.Open, 1, "")
	h.bytes(script.Open, 2, "")
	h.message(1, "big;he")
	h.want("HELD+1 1")
	h.message(2, "pause;one;")
	h.want("PAUSE 2", `SESSION 2 {"pushd.rest":"one;"}`)
	_, carried := h.stop(script.Successor)
	ids, data, err := script.ParseCarry(carried)
	must(t, err)
	if ids.Len() != 2 {
		t.Errorf("%d connections go along", ids.Len())
	}
	h = serve(t, file, "start")
	h.write(script.AppendCarry(nil, script.Carried, []uint64{1, 2}, data))
	h.bytes(script.Resume, 1, "")
	h.bytes(script.Resume, 2, `{"pushd.rest":"one;"}`)
	h.message(1, "llo;")
	h.want("SEND 2 one", "SEND 1 hello", "SESSION 1", "SESSION 2", "HELD+1 1")
}

// TestPacketsWithoutEnd: a protocol class that waits for ever does not fill the memory.
func TestPacketsWithoutEnd(t *testing.T) {
	h := serve(t, program(t, `
namespace Protocols {
    class Endless { static function input($b, $c) { return 0; } static function decode($b, $c) { return $b; } static function encode($b, $c) { return $b; } }
}
namespace {
    Workerman\Connection\TcpConnection::$defaultMaxPackageSize = 5000;
    $w = new Workerman\Worker('endless://0.0.0.0:2346');
    Workerman\Worker::runAll();
}`), "start")
	h.bytes(script.Open, 1, "")
	h.message(1, strings.Repeat("x", 5000))
	h.want("HELD+1 1")
	h.message(1, "x")
	h.want("END/1000 1")
}

// TestAnswersOfInput: what a protocol class says of a packet counts as in Workerman, for a
// client of pushd's and for a stream of PHP's own.
func TestAnswersOfInput(t *testing.T) {
	two, one, closed := []string{"<?.>", "<.>"}, []string{"<?>", "<..>"}, []string{"closed"}
	rows := []struct {
		answer string
		want   []string // to three bytes, the first of which is said to be ?
	}{
		{"0", nil}, {"2", two}, {"true", one}, {"2.0", two}, {"'2'", two},
		{"false", closed}, {"null", closed}, {"0.0", closed}, {"'much'", closed}, {"[3]", closed}, {"-1", closed}, {"99999999", closed},
		{"'throws'", closed}, {"3", closed},
	}
	var answers []string
	for _, x := range rows {
		answers = append(answers, x.answer)
	}
	h := serve(t, program(t, `
namespace Protocols {
    class Answers {
        const ALL = [`+strings.Join(answers, ", ")+`];
        static function input($b, $c) {
            $n = $b[0] === '.' ? strlen($b) : self::ALL[ord($b) - ord('a')];
            if ($n === 'throws') throw new \Exception('in input');
            return $n;
        }
        static function decode($b, $c) { if (strlen($b) === 3) throw new \Exception('in decode'); return "<$b>"; }
        static function encode($b, $c) { return $b; }
    }
}
namespace {
    use Workerman\Connection\TcpConnection;
    $w = new Workerman\Worker('answers://0.0.0.0:2346');
    $w->onWorkerStart = function () use (&$streams) {
        foreach (Protocols\Answers::ALL as $i => $_) {
            [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
            $c = new TcpConnection($ours);
            $c->protocol = 'Protocols\Answers';
            $c->onMessage = function ($c, $data) use ($i) { Pushd\publish($i, $data); };
            $c->onClose = function ($c) use ($i) { Pushd\publish($i, 'closed'); };
            $streams[] = [$c, $theirs];
            fwrite($theirs, chr(ord('a') + $i) . '..');
        }
    };
    $w->onMessage = function ($c, $data) { $c->send($data); };
    Workerman\Worker::runAll();
}`), "start")
	said := map[int][]string{}
	for i := range rows {
		for range rows[i].want {
			var from int
			var what string
			if _, err := fmt.Sscanf(h.next(), "PUBLISH 0 %d %s", &from, &what); err != nil {
				t.Fatal(err)
			}
			said[from] = append(said[from], what)
		}
	}
	for i, x := range rows {
		first := string(rune('a' + i))
		want := strings.Split(strings.ReplaceAll(strings.Join(x.want, " "), "?", first), " ")
		if x.want == nil {
			want = nil
		}
		if !slices.Equal(said[i], want) {
			t.Errorf("%s of a stream: got %q, want %q", x.answer, said[i], want)
		}
		id := uint64(i + 1)
		h.bytes(script.Open, id, "")
		h.message(id, first+"..")
		var got []string
		for _, o := range h.done() {
			if text, is := strings.CutPrefix(o, fmt.Sprintf("SEND %d ", id)); is {
				got = append(got, text)
			} else if strings.HasPrefix(o, "END/") {
				got = append(got, "closed")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s of a client: got %q, want %q\n%s", x.answer, got, want, h.log)
		}
	}
}
