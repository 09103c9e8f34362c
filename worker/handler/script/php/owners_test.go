package php_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

const ownersRatchet = `
class Chat implements Ratchet\MessageComponentInterface {
    private $clients, $label;
    function __construct($label) { $this->label = $label; $this->clients = new SplObjectStorage; }
    function onOpen(Ratchet\ConnectionInterface $c) { $this->clients->attach($c); }
    function onMessage(Ratchet\ConnectionInterface $c, $m) { foreach ($this->clients as $o) $o->send("$this->label $m"); }
    function onClose(Ratchet\ConnectionInterface $c) { $this->clients->detach($c); }
    function onError(Ratchet\ConnectionInterface $c, Exception $e) { $c->close(); }
}
class Other extends Chat {}
`

const ownersApp = ownersRatchet + `
$app = new Ratchet\App('localhost', 2346);
/* above */
$app->route('/a', new Chat('a'), ['*']);
$app->route('/b', new Chat('b'), ['*']);
/* below */
$app->run();`

const ownersPorts = `
class Room {
    private $fds = [], $label;
    function __construct($label) { $this->label = $label; }
    function connect($s, $fd) { $this->fds[$fd] = 1; }
    function receive($s, $fd, $r, $data) { foreach ($this->fds as $to => $_) $s->send($to, "$this->label $data"); }
}
function at($s, $port, $room) { $p = $s->listen('127.0.0.1', $port, SWOOLE_SOCK_TCP); $p->on('connect', [$room, 'connect']); $p->on('receive', [$room, 'receive']); }
$s = new Swoole\Server('127.0.0.1', 9500);
$s->on('receive', function () {});
/* above */
at($s, 1, new Room('a'));
at($s, 2, new Room('b'));
$s->start();`

// TestCarryOwners: what the object of a route, a port or a callback knows goes to the one
// that is there in the new code, whatever else is above it, and to no other.
func TestCarryOwners(t *testing.T) {
	const a, b = uint64(big), uint64(big + 1)
	hears := func(id uint64, label string) string { return fmt.Sprintf("SEND %d %s get", id, label) }
	ends := func(id uint64) string { return fmt.Sprintf("END/1012 %d service restart", id) }
	route := func(path string) [2]string { return [2]string{"websocket://127.0.0.1:2346", path} }
	routes := [2][2]string{route("/a"), route("/b")}
	ports := [2][2]string{{"tcp://127.0.0.1:1", ""}, {"tcp://127.0.0.1:2", ""}}
	const two = `
$loop = React\EventLoop\Loop::get();
$at = function ($port, $chat) use ($loop) { return new Ratchet\Server\IoServer($chat, new React\Socket\SocketServer("127.0.0.1:$port", [], $loop), $loop); };
/* above */
$at(1, new Chat('a'));
$at(2, new Chat('b'));
$loop->run();`
	const events = `
class On { public $fds = [], $label; function __construct($label) { $this->label = $label; } function receive($s, $fd, $r, $data) { $this->fds[$fd] = 1; foreach ($this->fds as $to => $_) $s->send($to, "$this->label $data"); } function other() {} }
$s = new Swoole\Server('127.0.0.1', 1);
/* above */
$s->on('close', [new On('close'), 'other']);
$s->on('receive', [new On('a'), 'receive']);
$s->start();`
	for _, x := range []struct {
		name, code, old, new string
		at                   [2][2]string // local address and target of a and b
		want                 []string     // when both have said "get"
	}{
		{"a route above", ownersApp, "/* above */", "$app->route('/new', new Chat('new'), ['*']);", routes, []string{hears(a, "a"), hears(b, "b")}},
		{"swapped", ownersApp, "$app->route('/a', new Chat('a'), ['*']);\n$app->route('/b', new Chat('b'), ['*']);", "$app->route('/b', new Chat('b'), ['*']);\n$app->route('/a', new Chat('a'), ['*']);", routes, []string{hears(a, "a"), hears(b, "b")}},
		{"another class above", ownersApp, "/* above */", "$app->route('/new', new Other('new'), ['*']);", routes, []string{hears(a, "a"), hears(b, "b")}},
		{"a route less", ownersApp, "$app->route('/a', new Chat('a'), ['*']);", "$app->route('/c', new Chat('c'), ['*']);", routes, []string{ends(a), hears(b, "b")}},
		{"a route less, in no map", strings.Replace(ownersApp, "new Chat('a')", "new Ratchet\\Server\\EchoServer", 1), "$app->route('/a', new Ratchet\\Server\\EchoServer, ['*']);", "$app->route('/c', new Chat('c'), ['*']);", routes, []string{ends(a), hears(b, "b")}},
		{"two that become one", ownersApp, "$app->route('/a', new Chat('a'), ['*']);\n$app->route('/b', new Chat('b'), ['*']);", "$one = new Chat('one'); $app->route('/a', $one, ['*']); $app->route('/b', $one, ['*']);", routes, []string{ends(b), hears(a, "one")}},
		{"one that becomes two", strings.Replace(ownersApp, "$app->route('/b', new Chat('b'), ['*']);", "$app->route('/b', $app->routes[0]->component, ['*']);", 1), "$app->route('/b', $app->routes[0]->component, ['*']);", "$app->route('/b', new Chat('b'), ['*']);", routes, []string{ends(a), ends(b)}},
		{"alone of its class", strings.Replace(ownersApp, "/b', new Chat", "/b', new Other", 1), "2346", "2347", routes, []string{hears(a, "a"), hears(b, "b")}},
		{"by host", strings.NewReplacer("'/a', new Chat('a'), ['*']", "'/x', new Chat('a'), ['*'], 'a'", "'/b', new Chat('b'), ['*']", "'/x', new Chat('b'), ['*'], 'b'").Replace(ownersApp), "/* above */", "$app->route('/x', new Chat('new'), ['*'], 'new');",
			[2][2]string{route("a/x"), route("b/x")}, []string{hears(a, "a"), hears(b, "b")}},
		{"servers on one loop", ownersRatchet + two, "/* above */", "$at(3, new Chat('new'));", ports, []string{hears(a, "a"), hears(b, "b")}},
		{"ports", ownersPorts, "/* above */", "at($s, 3, new Room('new'));", ports, []string{hears(a, "a"), hears(b, "b")}},
		{"events", events, "/* above */", "$s->on('connect', [new On('new'), 'other']);", [2][2]string{ports[0], ports[0]}, []string{fmt.Sprintf("MANY 0 %d %d %[1]d %[2]d a get", a, b)}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			tell := func(h *host, op script.Op) {
				for i, at := range x.at {
					host, target, _ := strings.Cut(at[1], "/")
					head := "GET /" + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
					if op == script.Resume && !slices.Contains(h.welcome.Wants, script.WantHead) {
						head = ""
					}
					h.openAt(op, a+uint64(i), "", at[0], "/"+target, head)
				}
			}
			h := serve(t, program(t, x.code), "start")
			tell(h, script.Open)
			h.message(a, "put")
			h.message(b, "put")
			h.done()
			_, carried := h.stop(script.Successor)
			_, data, err := script.ParseCarry(carried)
			must(t, err)
			if x.code == strings.Replace(x.code, x.old, x.new, 1) {
				t.Fatal("nothing is changed")
			}
			next := serve(t, program(t, strings.Replace(x.code, x.old, x.new, 1)), "start")
			next.write(script.AppendCarry(nil, script.Carried, []uint64{a, b}, data))
			tell(next, script.Resume)
			got := slices.DeleteFunc(next.done(), func(o string) bool { return !strings.HasPrefix(o, "END") })
			for _, id := range []uint64{a, b} {
				if !slices.Contains(got, ends(id)) {
					next.message(id, "get")
				}
			}
			got = append(got, slices.DeleteFunc(next.done(), func(o string) bool { return strings.HasPrefix(o, "HELD") })...)
			slices.Sort(got)
			slices.Sort(x.want)
			if got = slices.Compact(got); !slices.Equal(got, x.want) {
				t.Errorf("got %q, want %q\n%s", got, x.want, next.log)
			}
		})
	}
}
