package php_test

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const much = `
use Workerman\Worker;
$w = new Worker('tcp://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    $all = '';
    for ($i = 0; $i < 5000000; $i++) $all .= pack('V', $i); // 20 MB of which no two bytes may change places
    $said = [$c->send($all), $c->send('more'), $c->getSendBufferQueueSize() > 1000000];
    if ($data === 'close') { $c->close(); $said[] = $c->send('late'); }
    echo json_encode($said), "\n";
};
$w->onError = function ($c, $code, $text) { echo "error $code: $text\n"; };
$w->onBufferFull = function ($c) { echo "full\n"; };
$w->onBufferDrain = function ($c) { echo "drained\n"; };
Worker::runAll();
`

// muchSent are the bytes of the orders, which are SEND 1 and no others but rest.
func muchSent(t *testing.T, orders []string, rest ...string) string {
	t.Helper()
	var b strings.Builder
	for _, o := range orders {
		if data, ok := strings.CutPrefix(o, "SEND 1 "); ok {
			b.WriteString(data)
		} else if len(rest) == 0 || rest[0] != o {
			t.Fatalf("order %.80q, want %q", o, rest)
		} else {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		t.Fatalf("%q did not come", rest)
	}
	return b.String()
}

// TestMuch: one send to a client that takes it goes as a whole; to one that does
// not, what pushd has no room for waits in PHP and follows, and what is sent
// meanwhile is refused, as in Workerman.
func TestMuch(t *testing.T) {
	h := serve(t, program(t, much), "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.message(1, "x")
	const all = 20_000_000
	if got := muchSent(t, h.done(), "HELD+1 1"); len(got) != all {
		t.Errorf("%d bytes", len(got))
	}
	for _, want := range []string{"SEND 1 more", "HELD 1"} {
		o := h.next()
		for h.queue(o) {
			o = h.next()
		}
		if o != want {
			t.Errorf("behind the callback %.80q, want %q", o, want)
		}
	}
	h.says("[true,null,false]") // the callback has had its share

	h.stuck = true
	h.message(1, "x")
	got := muchSent(t, h.done(), "HELD+1 1")
	h.says("full")
	h.says("error 2: send buffer full and drop package")
	h.says("[null,false,true]")
	if len(got) < halfQueue || len(got) > halfQueue+script.MaxPayload {
		t.Errorf("%d bytes at once", len(got))
	}
	for len(got) < all {
		h.queued = 0 // it has read all that
		h.event(script.Frame{Op: script.Full, Conn: 1})
		h.event(script.Frame{Op: script.Drain, Conn: 1})
		orders := h.done()
		rest := []string{}
		if orders[len(orders)-1] == "HELD 1" {
			rest = append(rest, "HELD 1")
		}
		more := muchSent(t, orders, rest...)
		if got += more; more == "" || (len(got) == all) != (len(rest) == 1) {
			t.Fatalf("%d bytes follow, then %d are sent, and %q", len(more), len(got), rest)
		}
	}
	h.says("drained")
	for i := range 5_000_000 {
		if at := got[4*i : 4*i+4]; at != string([]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}) {
			t.Fatalf("number %d is %x", i, at)
		}
	}
	if n := strings.Count(h.log.String(), "full\n"); n != 1 {
		t.Errorf("full was told %d times", n)
	}
}

// TestMuchInTurns: a callback that sends a client much, who takes it at once, gives way to
// others and goes on behind them, in order.
func TestMuchInTurns(t *testing.T) {
	h := serve(t, program(t, `
$w = new Workerman\Worker('tcp://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    if ($data === 'other') { $c->send('heard'); return; }
    $c->maxSendBufferSize = 100000000;
    $said = [];
    foreach (range('a', 'h') as $letter) $said[] = $c->send(str_repeat($letter, 1000000));
    echo json_encode($said), "\n";
};
$w->onBufferDrain = function ($c) { echo "drained\n"; };
Workerman\Worker::runAll();`), "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.message(1, "much")
	var got strings.Builder
	turns := 0
	h.tick()
	for got.Len() < 8_000_000 {
		o := h.next()
		if data, ok := strings.CutPrefix(o, "SEND 1 "); ok {
			got.WriteString(data)
		} else if o == "DONE 1" {
			turns = got.Len()
		} else {
			h.queue(o)
		}
	}
	if turns < 2_000_000 || turns > 4_000_000 {
		t.Errorf("%d bytes in one turn", turns)
	}
	for i, letter := range "abcdefgh" {
		if part := got.String()[i*1_000_000 : (i+1)*1_000_000]; part != strings.Repeat(string(letter), 1_000_000) {
			t.Fatalf("part %d begins with %.9q", i, part)
		}
	}
	h.says("[true,true,true,true,null,null,null,null]")
	h.says("drained")
}

// TestMuchThenClose: what was sent before close() arrives before the end.
func TestMuchThenClose(t *testing.T) {
	h := serve(t, program(t, much), "start")
	h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
	h.stuck = true
	h.message(1, "close")
	n := len(muchSent(t, h.done(), "HELD+1 1"))
	h.says("[null,false,true,false]")
	h.stuck, h.queued = false, 0
	h.event(script.Frame{Op: script.Drain, Conn: 1})
	orders := h.done()
	if last := orders[len(orders)-1]; last != "END/1000 1" {
		t.Errorf("last order is %.80q", last)
	}
	if n += len(muchSent(t, orders, "HELD 1", "END/1000 1")); n != 20_000_000 {
		t.Errorf("%d bytes before the end", n)
	}
}

// TestMuchAtReload: a process that leaves gives pushd what waits in it if there is
// room, and else says that the client must go.
func TestMuchAtReload(t *testing.T) {
	for _, x := range []struct{ name, code string }{
		{"room", `$c->send(str_repeat('x', 1000000));`},
		{"none", `$c->send(str_repeat('x', 8000000));`},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := serve(t, program(t, `
$w = new Workerman\Worker('tcp://0.0.0.0:2346');
$w->onMessage = function ($c, $data) { `+x.code+` };
Workerman\Worker::runAll();`), "start")
			h.openAt(script.Open, 1, "", "tcp://0.0.0.0:2346", "", "")
			h.queued, h.stuck = halfQueue, true
			full := script.Frame{Op: script.Full, Conn: 1}.Append(nil)
			h.write(script.Frame{Op: script.Message, Conn: 1, Payload: []byte("a")}.Append(full))
			h.want("HELD+1 1")
			orders, _ := h.stop(script.Successor)
			if x.name == "none" {
				muchSent(t, orders, "DONE 2")
				h.says("carried over: nothing; 1 slow clients have more to be sent than pushd has room for: they are closed with 1012\n")
			} else if n := len(muchSent(t, orders, "HELD 1", "DONE 2")); n != 1_000_000 {
				t.Errorf("%d bytes", n)
			}
		})
	}
}
