package php_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/handler/script/php"
)

// TestArguments: a program of Workerman finds the verb among its arguments, all others find
// their own alone, whatever the file names.
func TestArguments(t *testing.T) {
	const (
		worker  = `$w = new Workerman\Worker('websocket://0.0.0.0:1'); Workerman\Worker::runAll();`
		ratchet = `$p = (int)($argv[1] ?? 8080); $p or exit; Ratchet\Server\IoServer::factory(new Ratchet\Http\HttpServer(new Ratchet\WebSocket\WsServer(new Ratchet\Server\EchoServer)), $p)->run();`
		swoole  = `$s = new Swoole\WebSocket\Server('0.0.0.0', (int)($argv[1] ?? 9501)); $s->on('message', function () {}); $s->start();`
		usage   = `($argv[1] ?? '') === 'start' || exit;`
		console = `($argv[1] ?? '') === 'ws' || exit(1); require __DIR__ . '/beside.php';`
	)
	for _, x := range []struct {
		name, code, beside string
		args               []string
		daemon             bool
		want               string
	}{
		{name: "workerman", code: usage + worker, want: "start"},
		{name: "workerman's daemon", code: worker, daemon: true, args: []string{"x"}, want: "start -d x"},
		{name: "workerman by another file", code: usage + `require __DIR__ . '/beside.php';`, beside: worker, want: "start"},
		{name: "ratchet", code: ratchet, want: ""},
		{name: "ratchet's port", code: ratchet, daemon: true, args: []string{"9000"}, want: "9000"},
		{name: "swoole by another file", code: `require __DIR__ . '/beside.php';`, beside: swoole, want: ""},
		{name: "swoole that names workerman", code: "// as Workerman does\n" + swoole, args: []string{"9000"}, want: "9000"},
		{name: "console", code: console, beside: strings.Replace(ratchet, "$argv[1]", "$argv[2]", 1), args: []string{"ws", "9000"}, want: "ws 9000"},
		{name: "workerman's console", code: console, beside: worker, args: []string{"ws", "start"}, want: "ws start"},
		{name: "a console's start", code: usage + `require __DIR__ . '/beside.php';`, beside: strings.Replace(ratchet, "$argv[1]", "$argv[2]", 1), want: "start"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			file := program(t, x.code)
			must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "beside.php"), []byte("<?php "+x.beside), 0o644))
			c := php.Command{File: file, Args: x.args, Dir: filepath.Dir(file), Shim: shim(t), Daemon: x.daemon}
			var out bytes.Buffer
			p, err := c.Plan(t.Context(), &out)
			if err != nil || strings.HasSuffix(p.Groups[0].Listen[0], ":0") {
				t.Fatalf("%+v, %v\n%s", p, err, out.String())
			}
			if name := strings.TrimPrefix(p.Groups[0].Name, "start"); (name == "") != (len(x.args) == 0) {
				t.Errorf("its group is %q", p.Groups[0].Name)
			}
			args, _ := c.Handler()
			if got := strings.Join(args[slices.Index(args, file)+1:], " "); got != x.want {
				t.Errorf("its arguments are %q, want %q", got, x.want)
			}
		})
	}
}
