package php_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
$s->listen('/run/1:2.sock', 0, SWOOLE_SOCK_UNIX_STREAM)->on('receive', function ($s, $fd, $r, $data) {
    $info = $s->getClientInfo($fd);
    $s->send($fd, json_encode([$s->send($fd, str_repeat('x', 2 << 20)), $info['server_port'], $info['remote_ip'], $info['remote_port'], $info['socket_type']]));
});
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
	h.write(script.AppendOpen(nil, script.Open, 10, script.Opening{Local: "unix:///run/1:2.sock"}))
	h.message(10, "x")
	size, last := 0, ""
	for _, last = range h.done() {
		size += len(last)
	}
	if size < 2<<20 || last != `SEND 10 [true,0,"",0,5]` {
		t.Errorf("%d bytes, the last are %.99q\n%s", size, last, h.log)
	}
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

// TestSwooleRequest: what a request says, what its answer may be, and that who asks gets
// an answer also where the program gives none.
func TestSwooleRequest(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->set(['http_parse_files' => true]);
$s->on('message', function ($s, $f) {
    global $kept;
    if ($f->data === 'bind') { $s->bind($f->fd, 77); $s->push($f->fd, json_encode($s->getClientInfo($f->fd)['uid'])); return; }
    $s->push($f->fd, json_encode([$kept->write('more'), $kept->isWritable(), $kept->end('x'), $s->exist($kept->fd)]));
});
$s->on('close', function ($s, $fd) { echo "close of $fd\n"; });
$s->on('request', function ($q, $r) use ($s) {
    global $kept;
    switch ($q->server['request_uri']) {
        case '/throw': $kept = $r; throw new Exception('a mistake');
        case '/forbidden': $r->status(403); break;
        case '/stream': $kept = $r; $r->write('first'); break;
        case '/detach': $r->detach(); Swoole\Http\Response::create($q->fd)->end('created'); break;
        case '/twice': $r->header('Content-Type', 'text/html'); $r->header('content-type', 'application/json'); $r->header('X-List', ['a', 'b']);
            $r->cookie('a', 'b'); $r->cookie('c', 'd'); $r->end(); break;
        case '/file': file_put_contents('x.png', 'PNG'); $r->sendfile('x.png'); break;
        case '/info': $r->end(json_encode([$s->exist($q->fd), $s->isEstablished($q->fd), $s->getClientInfo($q->fd)['websocket_status'], $q->server['server_port'], $q->server['server_addr'],
            is_float($q->server['request_time_float']), isset($q->server['master_time'])])); break;
        case '/up':
            $f = $q->files['f'];
            $in = file_get_contents($f['tmp_name']);
            $moved = move_uploaded_file($f['tmp_name'], 'moved') && file_get_contents('moved') === $in && !move_uploaded_file('moved', 'again');
            $GLOBALS['left'] = $q->files['m']['tmp_name'][1];
            $r->end(json_encode([$q->post, $in, $f['name'], $f['type'], $f['size'], $f['error'], $q->files['m']['name'], is_file($GLOBALS['left']), $q->files['none']['error'], $moved])); break;
        case '/left': $r->end(json_encode(is_file($GLOBALS['left']))); break;
    }
});
$s->start();`), "start")
	const local = "websocket://127.0.0.1:9601"
	form := strings.ReplaceAll(`--b1
Content-Disposition: form-data; name="name"

bob
--b1
Content-Disposition: form-data; name="tags[]"

one
--b1
Content-Disposition: form-data; name="tags[]"

two
--b1
Content-Disposition: form-data; name="f"; filename="x \"1\".txt"
Content-Type: text/plain

line
--b2
--b1
Content-Disposition: form-data; name="m[]"; filename="../one"

1
--b1
Content-Disposition: form-data; name="m[]"; filename="two"

2
--b1
Content-Disposition: form-data; name="none"; filename=""


--b1--
`, "\n", "\r\n")
	for i, x := range []struct{ request, want string }{
		{"GET /throw", "500 Internal Server Error\r\nContent-Type: text/html\r\n\r\n"},
		{"GET /nothing", "500 Internal Server Error\r\nContent-Type: text/html\r\n\r\n"},
		{"GET /forbidden", "403 Forbidden\r\nContent-Type: text/html\r\n\r\n"},
		{"GET /detach", "200 OK\r\nContent-Type: text/html\r\n\r\ncreated"},
		{"GET /twice", "200 OK\r\ncontent-type: application/json\r\nX-List: a\r\nX-List: b\r\nSet-Cookie: a=b; Path=/\r\nSet-Cookie: c=d; Path=/\r\n\r\n"},
		{"GET /file", "200 OK\r\nContent-Type: image/png\r\n\r\nPNG"},
		{"GET /info", "200 OK\r\nContent-Type: text/html\r\n\r\n" + `[true,false,0,9601,"127.0.0.1",true,true]`},
		{"POST /up", "200 OK\r\nContent-Type: text/html\r\n\r\n" + `[{"name":"bob","tags":["one","two"]},"line\r\n--b2","x \"1\".txt","text\/plain",10,0,["one","two"],true,4,true]`},
		{"GET /left", "200 OK\r\nContent-Type: text/html\r\n\r\nfalse"},
	} {
		raw := x.request + " HTTP/1.1\r\nHost: x\r\n"
		if strings.HasPrefix(x.request, "POST") {
			raw += "Content-Type: multipart/form-data; boundary=b1\r\n\r\n" + form
		} else {
			raw += "\r\n"
		}
		id := uint64(100 + i)
		want := []string{fmt.Sprintf("RESPOND %d %s", id, strings.TrimSpace("HTTP/1.1 "+x.want))}
		if got := h.get(id, local, raw); !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q\n%s", x.request, got, want, h.log)
		}
	}

	// a client that leaves, and has not been told
	if got := h.get(200, local, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"); !slices.Equal(got, []string{"RESPOND+1 200 HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nfirst"}) {
		t.Errorf("got %q", got)
	}
	h.openAt(script.Open, 1, "", local, "/", head)
	h.event(script.Frame{Op: script.Close, Conn: 200, Aux: 1006})
	h.message(1, "write")
	h.want("SEND 1 [false,false,false,false]")
	h.message(1, "bind")
	h.want("BIND 1 77", "SEND 1 77", `SESSION 1 {"pushd.uid":77}`)
	if strings.Contains(h.log.String(), "close of") {
		t.Errorf("on('close') of who was not told\n%s", h.log)
	}
}

// TestSwooleParses: what set() says of a request's cookies and forms.
func TestSwooleParses(t *testing.T) {
	const plain, parts = "application/x-www-form-urlencoded\r\nCookie: a=b\r\n\r\nn=1", "multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n1\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"f[]\"; filename=\"x\"\r\n\r\nX\r\n--b--\r\n"
	for _, row := range []struct{ set, request, want string }{
		{`[]`, "POST / HTTP/1.1\r\nContent-Type: " + plain, `[{"n":"1"},{"a":"b"},null,null]`},
		{`['http_parse_post' => false, 'http_parse_cookie' => false]`, "POST / HTTP/1.1\r\nContent-Type: " + plain, `[null,null,"a=b",null]`},
		{`[]`, "GET / HTTP/1.1\r\nContent-Type: " + plain, `[null,{"a":"b"},null,null]`},
		{`['http_parse_post' => false]`, "POST / HTTP/1.1\r\nContent-Type: " + parts, `[{"n":"1"},null,null,["name","type","tmp_name","error","size"]]`},
		{`['http_parse_files' => true]`, "POST / HTTP/1.1\r\nContent-Type: " + parts, `[{"n":"1"},null,null,["x"]]`},
	} {
		h := serve(t, program(t, fmt.Sprintf(`
$s = new Swoole\Http\Server('127.0.0.1', 9601);
$s->set(%s);
$s->on('request', function ($q, $r) {
    $f = $q->files['f'] ?? null;
    $r->end(json_encode([$q->post, $q->cookie, $q->header['cookie'] ?? null, $f ? $f['name'] ?? array_keys($f[0]) : null]));
});
$s->start();`, row.set)), "start")
		got := strings.Join(h.get(1, "websocket://127.0.0.1:9601", row.request), ",")
		if !strings.HasSuffix(got, "\r\n\r\n"+row.want) {
			t.Errorf("%s %q: got %q, want %q\n%s", row.set, row.request, got, row.want, h.log)
		}
	}
}

// TestSwooleClosesRequest: the connection of who asks is closed, before the answer or behind it.
func TestSwooleClosesRequest(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\Http\Server('127.0.0.1', 9601);
$s->on('request', function ($q, $r) use ($s) {
    $said = $q->server['request_uri'] === '/behind' ? $r->end('x') : null;
    echo $q->server['request_uri'], json_encode([$said, $s->close($q->fd), $r->isWritable(), $r->end('y'), $s->exist($q->fd), $s->close(12345678)]), "\n";
});
$s->start();`), "start")
	const local, end = "websocket://127.0.0.1:9601", " HTTP/1.1\r\nHost: x\r\n\r\n"
	if got := h.get(1, local, "GET /at-once"+end); !slices.Equal(got, []string{"END/1000 1"}) {
		t.Errorf("%q", got)
	}
	if got := h.get(2, local, "GET /behind"+end); len(got) != 2 || !strings.HasPrefix(got[0], "RESPOND 2 ") || got[1] != "END/1000 2" {
		t.Errorf("%q", got)
	}
	h.says("/at-once[null,true,false,false,false,false]")
	h.says("/behind[true,true,false,false,false,false]")
}

// TestSwooleTasks: tasks that wait at the same time have each their number, and who
// asked for them what becomes of them.
func TestSwooleTasks(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->set(['task_enable_coroutine' => true]);
$s->on('message', function ($s, $f) {
    global $channels;
    foreach (['a', 'b', 'c'] as $name) { $channels[$name] = new Swoole\Coroutine\Channel(1); }
    foreach (['a', 'b', 'c'] as $i => $name) {
        $s->task($name, -1, $name === 'b' ? function ($s, $id, $data) { Pushd\publish('x', "own finish $id $data"); } : null);
    }
    $s->after(1, function () use ($channels) {
        foreach (['c', 'b', 'a'] as $name) { $channels[$name]->push(1); }
        Swoole\Timer::clearAll(); // what sleeps goes on
    });
});
$s->on('task', function ($s, $task) {
    global $channels;
    $channels[$task->data]->pop();
    Co::sleep(0.001);
    $task->data === 'a' ? $s->finish($task->data) : $task->finish($task->data);
});
$s->on('finish', function ($s, $id, $data) { Pushd\publish('x', "finish $id $data"); });
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	got := h.done()
	for len(got) < 3 {
		if o := h.next(); !strings.HasPrefix(o, "HELD") {
			got = append(got, o)
		}
	}
	got = slices.DeleteFunc(got, func(o string) bool { return strings.HasPrefix(o, "HELD") })
	slices.Sort(got)
	if !slices.Equal(got, []string{"PUBLISH 0 x finish 0 a", "PUBLISH 0 x finish 2 c", "PUBLISH 0 x own finish 1 b"}) {
		t.Errorf("got %q\n%s", got, h.log)
	}
}

// TestSwoolePipe: what one of Swoole's processes sends another arrives after the callback,
// with the number of who has sent it; what does not arrive is false.
func TestSwoolePipe(t *testing.T) {
	file := program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->set(['worker_num' => 3, 'task_worker_num' => 2]);
$process = new Swoole\Process(function ($process) use ($s) {
    while (true) {
        switch ($process->read()) {
            case 'process': $s->sendMessage('here', 0); break;
            case 'go': go(function () use ($s) { $s->sendMessage('here', 0); }); break;
            case 'after': $s->after(1, function () use ($s) { $s->sendMessage('here', 0); }); break;
        }
    }
});
$s->addProcess($process);
$s->on('pipeMessage', function ($s, $from, $data) {
    Pushd\publish('x', "from $from " . json_encode($data));
    $from === 0 && $s->sendMessage('back', 0); // as a task worker
});
$s->on('task', function ($s, $id, $worker, $data) {
    $data === 'task' ? $s->sendMessage('here', $worker) : $s->finish(1);
});
$s->on('finish', function ($s) { $s->sendMessage('finished', 4); });
$s->on('message', function ($s, $f) use ($process) {
    [$to, $sent] = explode(' ', $f->data) + [1 => ''];
    if (is_numeric($to)) $s->push(1, json_encode($s->sendMessage(json_decode($sent), (int)$to)));
    elseif ($to === 'task' || $to === 'finish') $s->task($to);
    else $process->write($to);
});
$s->start();`)
	h := serve(t, file, "start")
	h.open(script.Open, 1, "")
	for _, row := range []struct {
		message string
		want    []string
	}{
		{"0 1", []string{"SEND 1 false"}},
		{"2 1", []string{"SEND 1 false"}},
		{"5 1", []string{"SEND 1 false"}},
		{`3 {"a":1}`, []string{"SEND 1 true", `PUBLISH 0 x from 0 {"a":1}`, `PUBLISH 0 x from 3 "back"`}},
		{"task", []string{`PUBLISH 0 x from 3 "here"`}},
		{"finish", []string{`PUBLISH 0 x from 0 "finished"`, `PUBLISH 0 x from 4 "back"`}},
		{"process", []string{`PUBLISH 0 x from 5 "here"`}},
		{"go", []string{`PUBLISH 0 x from 5 "here"`}},
		{"after", []string{`PUBLISH 0 x from 5 "here"`}},
	} {
		h.message(1, row.message)
		got := h.done()
		for len(got) < len(row.want) {
			got = append(got, h.next())
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%q: %q, want %q\n%s", row.message, got, row.want, h.log)
		}
	}
	h.says("sendMessage(): can't send messages to self, at " + file + ":")
	h.says("sendMessage(): worker_id[5] is invalid, at " + file + ":")
	h.says("sendMessage() to worker 2 is false, and nobody gets it: one PHP process serves all connections, as worker 0")
}

// TestSwooleStats: what stats() counts in this process.
func TestSwooleStats(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->on('message', function ($s, $f) {
    $all = $s->stats();
    $s->push($f->fd, ($all['start_time'] > 1e9 && $all['start_time'] <= time() ? 'started ' : "started at $all[start_time] ") . json_encode(array_slice($all, 1, -1)) . ' ' . json_encode([count($s->connections), $s->getClientList()]));
});
$s->on('request', function ($q, $r) { $r->end(); });
$s->start();`), "start")
	h.open(script.Open, 1, "")
	h.open(script.Open, 2, "")
	h.open(script.Resume, 3, "")
	h.get(4, "websocket://127.0.0.1:9601", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	h.closed(2) // in the batch of the message
	h.message(1, "x")
	h.want(`SEND 1 started {"connection_num":2,"accept_count":3,"close_count":1,"request_count":2,"worker_num":1,"tasking_num":0,"worker_request_count":2} [2,[1,3]]`)
}

// TestSwooleNoTask: a task that nobody does is said where it was wanted.
func TestSwooleNoTask(t *testing.T) {
	file := program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->on('message', function ($s, $f) {
    $s->push($f->fd, json_encode([$s->task('a'),
        $s->taskwait('b')]));
});
$s->start();`)
	h := serve(t, file, "start")
	h.open(script.Open, 1, "")
	h.message(1, "x")
	h.want("SEND 1 [false,false]")
	h.says("task() without on('task') does nothing, at " + file + ":5")
	h.says("taskwait() without on('task') does nothing, at " + file + ":6")
}

// TestSwooleNamed: arguments have the names that Swoole's manual has for them.
func TestSwooleNamed(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server(host: '127.0.0.1', port: 9601, mode: SWOOLE_PROCESS, sock_type: SWOOLE_SOCK_TCP);
$s->set(settings: []);
$s->listen(host: '127.0.0.1', port: 9602, sock_type: SWOOLE_SOCK_TCP)->on(event_name: 'receive', callback: function ($s, $fd) {
    $s->send(fd: $fd, send_data: json_encode([count($s->getClientList(start_fd: 0, find_count: 9)), $s->getClientInfo(fd: $fd, reactor_id: 0, ignoreError: true)['server_port'], $s->ssl, swoole_last_error()]), serverSocket: -1);
});
$s->on(event_name: 'task', callback: function ($s, $id, $from, $data) { return "$data done"; });
$s->on(event_name: 'message', callback: function ($s, $f) {
    $result = $s->taskwait(data: 'x', timeout: 1.0, taskWorkerIndex: -1);
    $s->push(fd: $f->fd, data: $result . json_encode($s->ping(fd: $f->fd)), opcode: WEBSOCKET_OPCODE_TEXT);
    $s->task(data: 'y', finishCallback: function ($s, $id, $data) use ($f) { $s->disconnect(fd: $f->fd, code: 4000, reason: $data); });
});
$s->on('request', function ($q, $r) {
    $r->status(http_code: 201, reason: 'Made');
    $r->header(key: 'X-A', value: 'b');
    $r->cookie(name: 'a', value: 'b', samesite: 'Lax');
    $r->write(content: 'one');
    $r->end(content: 'two');
});
$s->start();`), "start")
	h.openAt(script.Open, 1, "", "tcp://127.0.0.1:9602", "", "")
	h.message(1, "x")
	h.want("SEND 1 [1,9602,false,0]")
	h.openAt(script.Open, 2, "", "websocket://127.0.0.1:9601", "/", head)
	h.message(2, "x")
	got := h.done()
	if len(got) < 2 {
		got = append(got, h.next())
	}
	if !slices.Equal(got, []string{"SEND 2 x donetrue", "END/4000 2 y done"}) {
		t.Errorf("got %q\n%s", got, h.log)
	}
	got = h.get(3, "websocket://127.0.0.1:9601", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if !slices.Equal(got, []string{"RESPOND+1 3 HTTP/1.1 201 Made\r\nContent-Type: text/html\r\nX-A: b\r\nSet-Cookie: a=b; Path=/; SameSite=Lax\r\n\r\none", "RESPOND 3 two"}) {
		t.Errorf("got %q\n%s", got, h.log)
	}
}

// TestSwooleFrames: a frame of close closes, parts of a message are one, and on('close')
// says whose end it was.
func TestSwooleFrames(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\WebSocket\Server('127.0.0.1', 9601);
$s->on('message', function ($s, $f) {
    switch ($f->data) {
        case 'object': $c = new Swoole\WebSocket\CloseFrame; $c->code = 4001; $c->reason = 'bye'; $s->push($f->fd, $c); break;
        case 'opcode': $s->push($f->fd, 'why', WEBSOCKET_OPCODE_CLOSE); break;
        case 'parts':
            $s->push($f->fd, 'one ', WEBSOCKET_OPCODE_BINARY, false);
            $p = new Swoole\WebSocket\Frame; $p->data = 'two '; $p->opcode = 0; $p->finish = false; $s->push($f->fd, $p);
            $s->push($f->fd, 'three', WEBSOCKET_OPCODE_CONTINUATION);
            $s->push($f->fd, 'whole', WEBSOCKET_OPCODE_TEXT, true); break;
    }
});
$s->on('close', function ($s, $fd, $reactor) { echo "$fd closed by $reactor\n"; });
$s->on('start', function ($s) { echo $s->master_pid > 1 && $s->manager_pid === $s->getMasterPid() ? "has a master\n" : "has none\n"; });
$s->start();`), "start")
	h.says("has a master")
	for id := range uint64(5) {
		h.open(script.Open, id+1, "")
	}
	h.message(1, "parts")
	h.want("SEND+1 1 one two three", "SEND 1 whole")
	h.message(1, "object")
	h.want("END/4001 1 bye")
	h.message(2, "opcode")
	h.want("END/1000 2 why")
	h.closed(3)
	h.event(script.Frame{Op: script.Close, Conn: 4, Aux: 1006})
	h.event(script.Frame{Op: script.Close, Conn: 5, Aux: 1009})
	h.want()
	for _, want := range []string{"1 closed by -1", "2 closed by -1", "3 closed by 0", "4 closed by 0", "5 closed by -1"} {
		h.says(want)
	}
}

// TestSwooleIdle: who sends nothing to a port of TCP is closed, and what set() of a port
// does not get is named.
func TestSwooleIdle(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\Server('127.0.0.1', 9601);
$s->set(['heartbeat_idle_time' => 1, 'heartbeat_check_interval' => 60]);
$s->on('receive', function ($s, $fd, $r, $data) {});
$s->on('workerstart', function () { Swoole\Timer::clearAll(); });
$more = $s->listen('127.0.0.1', 9602, SWOOLE_SOCK_TCP);
$more->set(['nonsense_option' => 1, 'heartbeat_idle_time' => 600]);
$s->start();`), "start")
	h.says("keys of set() that do nothing here: nonsense_option (not known)")
	if strings.Contains(h.log.String(), "ping_interval") {
		t.Errorf("it has no client that is pinged\n%s", h.log)
	}
	h.openAt(script.Open, 1, "", "tcp://127.0.0.1:9602", "", "")
	h.openAt(script.Open, 2, "", "tcp://127.0.0.1:9601", "", "")
	h.openAt(script.Resume, 3, "", "tcp://127.0.0.1:9601", "", "")
	h.want()
	got := []string{h.next(), h.next()}
	slices.Sort(got)
	if !slices.Equal(got, []string{"END/1000 2", "END/1000 3"}) {
		t.Errorf("got %q", got)
	}
}

// TestSwooleEvents: a word of on() that there is not is warned of where it stands, and
// a server whose clients nobody would hear is refused.
func TestSwooleEvents(t *testing.T) {
	const no = "function () {}"
	for _, row := range []struct{ code, err, out string }{
		{`$s = new Swoole\WebSocket\Server('0.0.0.0', 1); var_dump($s->on('messsage', F));`, "require onMessage callback: nothing would hear what clients send to 0.0.0.0:1", "unknown event types[messsage], whose function is never called, at FILE:2"},
		{`$s = new Swoole\WebSocket\Server('0.0.0.0', 1); $s->on('request', F); var_dump($s->on('onMessage', F));`, "require onMessage", "unknown event types[onMessage]"},
		{`$s = new Swoole\WebSocket\Server('0.0.0.0', 1); $s->on('MesSage', F); var_dump($s->on('FINISH', F));`, "", "bool(true)"},
		{`$s = new Swoole\Http\Server('0.0.0.0', 1); $s->on('message', F);`, "require onRequest", ""},
		{`$s = new Swoole\Server('0.0.0.0', 1); $s->on('connect', F);`, "require onReceive", ""},
		{`$s = new Swoole\Server('0.0.0.0', 1, SWOOLE_BASE, SWOOLE_SOCK_UDP); $s->on('receive', F);`, "require onPacket", ""},
		{`$s = new Swoole\WebSocket\Server('0.0.0.0', 1); $s->on('message', F); $s->listen('127.0.0.1', 2, SWOOLE_SOCK_UDP);`, "require onPacket callback: nothing would hear what clients send to 127.0.0.1:2", ""},
		{`$s = new Swoole\WebSocket\Server('0.0.0.0', 1); $s->on('message', F); $s->listen('127.0.0.1', 2, SWOOLE_SOCK_UDP); $s->on('packet', F);`, "", ""},
		{`$s = new Swoole\Server('0.0.0.0', 1); $s->on('receive', F); $p = $s->listen('127.0.0.1', 2, SWOOLE_SOCK_TCP); $p->set(['open_http_protocol' => true]);`, "require onRequest", ""},
		{`$s = new Swoole\Server('0.0.0.0', 1); $s->on('receive', F); $p = $s->listen('127.0.0.1', 2, SWOOLE_SOCK_TCP); var_dump($p->on('workerStart', F));`, "", "unknown event types[workerStart] of a port"},
		{`$s = new Swoole\Server('0.0.0.0', 1); $s->on('receive', F); var_dump($s->on('disconnect', F));`, "", "on('disconnect') is not called: a client"},
	} {
		file := program(t, strings.ReplaceAll(row.code, "F)", no+")")+"\n$s->start();")
		p, out := plan(t, file)
		got, _ := p["groups"].([]any)[0].(map[string]any)["error"].(string)
		if (got == "") != (row.err == "") || !strings.Contains(got, row.err) {
			t.Errorf("%s\nerror is %q, want %q\n%s", row.code, got, row.err, out)
		}
		if !strings.Contains(out, strings.ReplaceAll(row.out, "FILE", file)) || strings.Contains(out, "unknown event") != strings.Contains(out, "bool(false)") {
			t.Errorf("%s\nsays %q, want %q", row.code, out, row.out)
		}
	}
	// a process that begins anew has had no plan
	h := begin(t, program(t, `$s = new Swoole\Http\Server('0.0.0.0', 1); $s->start();`), "start")
	if got := h.next(); got != "EOF" {
		t.Errorf("it serves: %s", got)
	}
	h.says("require onRequest callback")
}

// TestAddresses: a client's address is without brackets, and without a port where none
// is known.
func TestAddresses(t *testing.T) {
	h := serve(t, program(t, `
$s = new Swoole\Server('0.0.0.0', 9601);
$s->set(['open_http_protocol' => true]);
$s->on('request', function ($q, $r) use ($s) {
    $i = $s->getClientInfo($q->fd);
    $r->end("$i[remote_ip] $i[remote_port] $i[server_port] {$q->server['remote_addr']} {$q->server['remote_port']} {$q->server['server_addr']} {$q->server['server_port']}");
});
$s->listen('::', 9602, SWOOLE_SOCK_UDP6);
$s->on('packet', function ($s, $data, $from) { $s->sendto($from['address'], $from['port'], "$from[address] $from[port] $from[server_port]"); });
$s->start();`), "start")
	for _, x := range []struct{ remote, local, want string }{
		{"192.0.2.1:7", "websocket://0.0.0.0:9601", "192.0.2.1 7 9601 192.0.2.1 7 0.0.0.0 9601"},
		{"[2001:db8::1]:7", "websocket://[::]:9601", "2001:db8::1 7 9601 2001:db8::1 7 :: 9601"},
		{"2001:db8::1", "websocket+tls://[::]:9601", "2001:db8::1 0 9601 2001:db8::1 0 :: 9601"}, // by a proxy
		{"192.0.2.1", "websocket://0.0.0.0:9601", "192.0.2.1 0 9601 192.0.2.1 0 0.0.0.0 9601"},
	} {
		const raw = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		h.write(append(script.AppendRequest(nil, 5, x.remote, x.local, len(raw)), raw...))
		if got := strings.Join(h.done(), ","); !strings.HasSuffix(got, "\r\n\r\n"+x.want) {
			t.Errorf("%s at %s: got %q, want %q\n%s", x.remote, x.local, got, x.want, h.log)
		}
	}
	h.write(script.AppendPacket(nil, script.Packet, "[2001:db8::1]:99", "udp://[::]:9602", []byte("hi")))
	h.want("REPLY 0 [2001:db8::1]:99 udp://[::]:9602 2001:db8::1 99 9602")

	h = serve(t, program(t, chatRatchet+`Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Chat)), 8080)->run();`), "start")
	for id, remote := range []string{"[2001:db8::1]:7", "2001:db8::1", "192.0.2.1", ""} {
		h.write(script.AppendOpen(nil, script.Open, uint64(id+1), script.Opening{Remote: remote, Local: "websocket://0.0.0.0:8080", Target: "/chat?token=t1", Head: []byte(head)}))
		h.message(uint64(id+1), "who")
		ip, _, _ := strings.Cut(strings.TrimPrefix(remote, "["), "]")
		if got, want := h.done()[0], fmt.Sprintf("SEND %d %s token=t1 http://example.org", id+1, ip); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestSwooleSettings: all keys that do nothing are named, in one line.
func TestSwooleSettings(t *testing.T) {
	for _, row := range []struct{ set, want string }{
		{`[]`, ""},
		{`['worker_num' => 1, 'dispatch_mode' => 1, 'max_request' => 0, 'open_tcp_nodelay' => true, 'daemonize' => false, 'pid_file' => 'x', 'task_object' => true, 'max_conn' => 9]`, ""},
		{`['reactor_num' => 2, 'dispatch_mode' => 2, 'log_level' => 5, 'max_request' => 9, 'enable_reuse_port' => true, 'http_compression' => true, 'worker_nun' => 4]`,
			"reactor_num, dispatch_mode (one PHP process serves all connections); log_level (the log is pushd's); max_request (memory and max_messages of [[worker]]); " +
				"enable_reuse_port (the sockets are pushd's); http_compression; worker_nun (not known)"},
		{`['ssl_cert_file' => 'x', 'log_file' => 'x']`, "ssl_cert_file (it needs SWOOLE_SOCK_TCP | SWOOLE_SSL); log_file (has what is printed only with start -d)"},
		{`['dispatch_func' => function () {}]`, "dispatch_func (one PHP process serves all connections)"},
		{`['dispatch_func' => ['ArrayObject', 'getFlags']]`, "dispatch_func (one PHP process serves all connections)"},
	} {
		h := serve(t, program(t, fmt.Sprintf(`set_error_handler(function ($n, $text) { throw new ErrorException($text); });
$s = new Swoole\Http\Server('127.0.0.1', 9601); $s->set(%s); $s->on('request', function () {}); $s->start();`, row.set)), "start")
		want := ""
		if row.want != "" {
			want = "pushd: keys of set() that do nothing here: " + row.want + "\n"
		}
		if got := h.log.String(); got != want {
			t.Errorf("%s\nsays %q\nwant %q", row.set, got, want)
		}
	}
}

// TestSwoolePidFile: the file is there as long as the server is, and not at its end.
func TestSwoolePidFile(t *testing.T) {
	file := program(t, `
$s = new Swoole\Http\Server('127.0.0.1', 9601);
$s->set(['pid_file' => __DIR__ . '/server.pid']);
$s->on('start', function ($s) { echo $s->master_pid === (int)file_get_contents(__DIR__ . '/server.pid') ? "it has the master's\n" : "it has another\n"; });
$s->on('request', function () {});
$s->start();`)
	pid := filepath.Join(filepath.Dir(file), "server.pid")
	h := serve(t, file, "start")
	h.says("it has the master's")
	h.stop(script.Successor)
	if _, err := os.Stat(pid); err != nil {
		t.Errorf("a reload: %v", err)
	}
	serve(t, file, "start").stop(0)
	if _, err := os.Stat(pid); !os.IsNotExist(err) {
		t.Errorf("the end: %v", err)
	}
	// where nobody may write
	must(t, os.Mkdir(pid, 0o755))
	serve(t, file, "start").says(pid + " cannot be written: file_put_contents(")
}
