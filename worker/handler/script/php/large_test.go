package php_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// TestLarge: properties that are more than a session may have are carried whole, and pushd
// has none of them, not those of before either: who has such is held.
func TestLarge(t *testing.T) {
	file := program(t, `
$w = new Workerman\Worker('websocket://0.0.0.0:2346');
$w->onMessage = function ($c, $data) {
    [$cmd, $n] = explode(' ', "$data 0");
    switch ($cmd) {
        case 'login': $c->id = 'ann'; $c->admin = true; break;
        case 'logout': $c->admin = false; break;
        case 'text': $c->buf = str_repeat('x', (int)$n); break;
        case 'bytes': $c->buf = substr(str_repeat(implode('', array_map('chr', range(0, 255))), 300), 0, (int)$n); break;
        case 'NULs': $c->buf = str_repeat("\0", (int)$n); break;
        case 'numbers': $c->buf = range(1, (int)$n); break;
        case 'map': $c->buf = array_fill_keys(range(1, (int)$n), ['hp' => 1]); break;
        case 'object': $c->friend = (object)['name' => 'bob']; break;
        case 'less': unset($c->buf); break;
        case 'none': unset($c->buf, $c->admin); break;
    }
    $c->send(json_encode([$c->id, $c->admin ?? null, md5(serialize($c->buf ?? null)), $c->friend->name ?? null]));
};
Workerman\Worker::runAll();`)
	const a, b = uint64(3<<40 + 1), uint64(3<<40 + 2)
	// says takes the answer out of orders, and what a session has, which is looked at in the next process.
	says := func(t *testing.T, h *host, id uint64, data string) (answer string, session *string, rest []string) {
		t.Helper()
		h.message(id, data)
		for _, o := range h.done() {
			word, text, _ := strings.Cut(o, " ")
			_, text, _ = strings.Cut(text, " ")
			switch word {
			case "SEND":
				answer = text
			case "SESSION":
				session = &text
			default:
				rest = append(rest, word)
			}
		}
		return answer, session, rest
	}
	for _, x := range []struct {
		name, grow string
		held       bool
	}{
		{"much text", "text 70000", true},
		{"some text", "text 64900", false},
		{"bytes", "bytes 50000", false},
		{"many bytes", "bytes 70000", true},
		{"NULs", "NULs 60000", false},
		{"numbers", "numbers 12000", false},
		{"many numbers", "numbers 20000", true},
		{"a map", "map 5000", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := serve(t, file, "start")
			h.open(script.Open, a, "")
			says(t, h, a, "login")
			_, session, rest := says(t, h, a, x.grow)
			if held := slices.Contains(rest, "HELD+1"); held != x.held || session == nil || x.held == (*session != "") || len(*session) > script.MaxSession {
				t.Fatalf("held %v, want %v; session %.100v", held, x.held, session)
			}
			want, last, _ := says(t, h, a, "logout")
			if last != nil {
				session = last
			}
			orders, carried := h.stop(script.Successor)
			if slices.Contains(orders, "HELD 3298534883329") != x.held || (len(carried) > 0) != x.held {
				t.Fatalf("%d bytes carried, and %q", len(carried), orders)
			}
			for range 2 { // the next one has it, and so has the one after that, which nobody has asked
				h = serve(t, file, "start")
				if x.held {
					ids, data, err := script.ParseCarry(carried)
					must(t, err)
					if ids.Len() != 1 || ids.At(0) != a {
						t.Fatalf("%d connections go along", ids.Len())
					}
					h.write(script.AppendCarry(nil, script.Carried, []uint64{a}, data))
				}
				h.open(script.Resume, a, *session)
				if rest := h.done(); slices.Contains(rest, "HELD+1 3298534883329") != x.held {
					t.Fatalf("held: %q, want %v", rest, x.held)
				}
				if x.held {
					_, carried = h.stop(script.Successor)
				}
			}
			if x.held {
				h = serve(t, file, "start")
				_, data, err := script.ParseCarry(carried)
				must(t, err)
				h.write(script.AppendCarry(nil, script.Carried, []uint64{a}, data))
				h.open(script.Resume, a, "")
				h.want("HELD+1 3298534883329")
			}
			if got, _, _ := says(t, h, a, "get"); got != want {
				t.Errorf("%s, want %s\n%s", got, want, h.log)
			}
			_, session, rest = says(t, h, a, "less")
			if session == nil || !strings.Contains(*session, `"admin":false`) || slices.Contains(rest, "HELD") != x.held {
				t.Errorf("small again: session %v, %q", session, rest)
			}
		})
	}
	t.Run("beside an object", func(t *testing.T) {
		h := serve(t, file, "start")
		h.open(script.Open, a, "")
		says(t, h, a, "login")
		says(t, h, a, "object")
		says(t, h, a, "text 70000")
		want, _, _ := says(t, h, a, "logout")
		_, carried := h.stop(script.Successor)
		_, data, err := script.ParseCarry(carried)
		must(t, err)
		h = serve(t, file, "start")
		h.write(script.AppendCarry(nil, script.Carried, []uint64{a}, data))
		h.open(script.Resume, a, "")
		if got, _, _ := says(t, h, a, "get"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if _, session, rest := says(t, h, a, "none"); session == nil || *session == "" || slices.Contains(rest, "HELD") {
			t.Errorf("with an object left: %v, %q", session, rest)
		}
	})
	t.Run("beyond the bound", func(t *testing.T) {
		h := serve(t, file, "start")
		h.open(script.Open, a, "")
		h.open(script.Open, b, "")
		says(t, h, a, "text 9000000")
		says(t, h, b, "text 9000000")
		orders, carried := h.stop(script.Successor)
		ids, _, err := script.ParseCarry(carried)
		must(t, err)
		if ids.Len() != 1 || !slices.Equal(orders[:len(orders)-1], []string{"HELD 3298534883329"}) {
			t.Errorf("%d go along, %q", ids.Len(), orders)
		}
		if log := h.log.String(); !strings.Contains(log, "1 connections have properties beyond the 16 MiB") {
			t.Errorf("the log does not say it: %s", log)
		}
	})
	t.Run("gone meanwhile", func(t *testing.T) {
		h := serve(t, file, "start")
		h.open(script.Open, a, "")
		says(t, h, a, "text 70000")
		_, carried := h.stop(script.Successor)
		_, data, err := script.ParseCarry(carried)
		must(t, err)
		h = serve(t, file, "start")
		h.write(script.AppendCarry(nil, script.Carried, nil, data))
		h.open(script.Open, b, "")
		h.want()
		if _, carried = h.stop(script.Successor); len(carried) > 0 {
			t.Errorf("%d bytes are carried of who is not there", len(carried))
		}
	})
}
