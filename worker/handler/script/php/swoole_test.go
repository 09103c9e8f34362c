package php_test

import (
	"slices"
	"testing"

	"github.com/pushd/pushd/protocol/script"
)

// get sends a request to a listener, and returns what the program answers.
func (h *host) get(id uint64, local, raw string) []string {
	h.t.Helper()
	h.write(append(script.AppendRequest(nil, id, "192.0.2.1:7", local, len(raw)), raw...))
	return h.done()
}

// TestSwoolePorts: each port speaks what its own set() says, has its own callbacks,
// and its own connections.
func TestSwoolePorts(t *testing.T) {
	file := program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9671);
$h = $s->addlistener('127.0.0.1', 9673, SWOOLE_SOCK_TCP);
$h->set(['open_http_protocol' => true, 'open_websocket_protocol' => false]);
$h->on('request', function ($q, $r) use ($s) { $r->end('port page'); });
$d = $s->listen('127.0.0.1', 9674, SWOOLE_SOCK_TCP);
$d->on('receive', function ($s, $fd, $r, $data) use ($d) {
    $info = $s->getClientInfo($fd);
    $s->send($fd, json_encode([count($d->connections), count($s->connections), @$s->push(1, 'x'), @$s->push($fd, 'x'), isset($info['websocket_status']), $info['server_port'],
        $s->ports[0]->port, $s->ports[2]->port]));
});
$s->on('message', function ($s, $f) { $s->push($f->fd, json_encode($s->getClientInfo($f->fd)['websocket_status'])); });
$s->on('close', function ($s, $fd) { echo 'closing ', json_encode($s->getClientInfo($fd)), $s->exist($fd) ? ' exists' : ' is gone', "\n"; });
$s->start();`)
	h := serve(t, file, "start")
	for _, want := range []string{script.WantRequest, script.WantHandshake} {
		if !slices.Contains(h.welcome.Wants, want) {
			t.Errorf("wants %q, not %s", h.welcome.Wants, want)
		}
	}
	h.openAt(script.Handshake, 7, "", "websocket://127.0.0.1:9673", "/", head)
	h.want("ACCEPT/400 7 no WebSocket is spoken here")
	h.openAt(script.Handshake, 8, "", "websocket://127.0.0.1:9671", "/", head)
	h.want("ACCEPT/101 8")
	got := h.get(9, "websocket://127.0.0.1:9673", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if !slices.Equal(got, []string{"RESPOND 9 HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nport page"}) {
		t.Errorf("got %q", got)
	}
	h.openAt(script.Open, 1, "", "websocket://127.0.0.1:9671", "/", head)
	h.openAt(script.Open, 2, "", "tcp://127.0.0.1:9674", "", "")
	h.message(2, "x")
	h.want("SEND 1 x", "SEND 2 [1,3,true,false,false,9674,9671,9674]")
	h.message(1, "x")
	h.want("SEND 1 3")
	h.closed(1)
	h.want()
	h.says(`closing {"websocket_status":3,"server_port":9671,"socket_type":1,"remote_port":40001,"remote_ip":"192.0.2.1","reactor_id":0,"close_errno":0} is gone`)

	// of a server that is no server of HTTP, too
	file = program(t, `
$s = new Swoole\Server('127.0.0.1', 9681);
$s->on('receive', function ($s, $fd, $r, $d) { $s->send($fd, "tcp $d"); });
$h = $s->listen('127.0.0.1', 9682, SWOOLE_SOCK_TCP);
$h->set(['open_http_protocol' => true]);
$h->on('request', function ($q, $r) { $r->end('page'); });
$w = $s->listen('127.0.0.1', 9683, SWOOLE_SOCK_TCP);
$w->set(['open_websocket_protocol' => true]);
$w->on('message', function ($s, $f) { echo "message $f->data\n"; });
$s->start();`)
	p, out := plan(t, file)
	listen := p["groups"].([]any)[0].(map[string]any)["listen"].([]any)
	if !slices.Equal(listen, []any{"tcp://127.0.0.1:9681", "websocket://127.0.0.1:9682", "websocket://127.0.0.1:9683"}) {
		t.Errorf("listens on %q\n%s", listen, out)
	}
}
