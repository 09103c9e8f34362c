package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Servers that others run as they are, with their defaults but for limits. They
// are not part of this repository, so a comparison has those that are here, and
// names the others.

// Centrifugo, one Go process; its clients speak a protocol of its own.
var centrifugo = server{
	name: "centrifugo", title: "Centrifugo", can: pushes,
	program: func(c *comparison, p *process, _ string) (Program, error) {
		config := filepath.Join(c.dir, "centrifugo.json")
		text, err := json.Marshal(map[string]any{
			"http_server": map[string]any{"address": "127.0.0.1", "port": p.port()},
			"http_api":    map[string]any{"key": key},
			"client":      map[string]any{"allowed_origins": []string{"*"}, "insecure": true}, // insecure: no token is asked for
			"channel":     map[string]any{"without_namespace": map[string]any{"allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true}},
			"log":         map[string]any{"level": "error"},
		})
		if err != nil {
			return Program{}, err
		}
		return Program{
			Args: []string{filepath.Join(c.Others, "centrifugo"), "-c", config}, Env: []string{"GOMAXPROCS=" + strconv.Itoa(c.Loops)}, Address: p.address,
		}, os.WriteFile(config, text, 0o600)
	},
	hello: func(p *process) []string {
		return []string{"--url", "ws://" + p.address + "/connection/websocket"}
	},
	room: func(p *process) []string {
		return append(p.hello(p), "--protocol", "centrifugo", "--channel", "bench")
	},
	back: func(p *process) []string {
		return append(p.room(p), "--api", "http://"+p.address, "--key", key)
	},
	missing: notIn("centrifugo", "make bin/centrifugo"),
}

// Soketi, one process of node with uWebSockets in it, which is its default; its
// clients speak the Pusher protocol.
var soketi = server{
	name: "soketi", title: "Soketi", can: pushers,
	program: func(c *comparison, p *process, _ string) (Program, error) {
		env := []string{
			"SOKETI_HOST=127.0.0.1", "SOKETI_PORT=" + strconv.Itoa(p.port()), "SOKETI_METRICS_SERVER_PORT=" + p.spare,
			"SOKETI_DEFAULT_APP_ID=" + key, "SOKETI_DEFAULT_APP_KEY=" + key, "SOKETI_DEFAULT_APP_SECRET=" + key,
			"SOKETI_PRESENCE_MAX_MEMBERS=1000",
		}
		return Program{Args: []string{"node", filepath.Join(c.Others, soketiProgram), "start"}, Env: env, Address: p.address}, nil
	},
	hello: func(p *process) []string { return []string{"--url", p.app(), "--foreign-ok"} }, // it greets
	room:  func(p *process) []string { return append(p.asApp(), "--channel", "bench", "--own", "0") },
	missing: func(o Options) string {
		if _, err := exec.LookPath("node"); err != nil {
			return "apt-get install nodejs npm && make bin/soketi"
		}
		return notIn(soketiProgram, "make bin/soketi")(o)
	},
}

const soketiProgram = "soketi/node_modules/@soketi/soketi/bin/server.js"

// nchan, a module of nginx with a process for each core; its clients get the bare
// messages, and do not talk.
var nchan = server{
	name: "nchan", title: "nchan", can: pushes,
	program: func(c *comparison, p *process, _ string) (Program, error) {
		config := filepath.Join(c.dir, "nginx.conf")
		text := fmt.Sprintf(nginxConfig, c.dir, c.Loops, nchanModule, c.Idle+c.Fan+1000, p.address)
		return Program{Args: []string{nginxProgram(), "-e", "stderr", "-p", c.dir, "-c", config}, Address: p.address}, os.WriteFile(config, []byte(text), 0o600)
	},
	hello: byChat,
	room:  byChat,
	back: func(p *process) []string {
		return append(byChat(p), "--channel", "bench", "--protocol", "nchan", "--api", "http://"+p.address+"/publish?room=bench")
	},
	missing: func(Options) string {
		if _, err := os.Stat(nchanModule); err != nil || nginxProgram() == "" {
			return "apt-get install nginx libnginx-mod-nchan"
		}
		return ""
	},
}

// nginxProgram is where nginx is, which need not be on the PATH of who is not root; ""
// where it is not.
func nginxProgram() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// A subscriber gets what comes after it, as everywhere else; nothing is kept.
const nginxConfig = `daemon off;
pid %[1]s/nginx.pid;
error_log stderr error;
worker_processes %[2]d;
worker_rlimit_nofile %[4]d;
load_module %[3]s;
events { worker_connections %[4]d; }
http {
	access_log off;
	client_body_temp_path %[1]s/client_body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[5]s;
		location = /chat {
			nchan_subscriber websocket;
			nchan_channel_id $arg_room;
			nchan_subscriber_first_message newest;
		}
		location = /publish {
			nchan_publisher;
			nchan_channel_id $arg_room;
			nchan_store_messages off;
		}
	}
}
`

// notIn says how a program is got that is not in the folder of the others.
func notIn(program, get string) func(Options) string {
	return func(o Options) string {
		if _, err := os.Stat(filepath.Join(o.Others, program)); err != nil {
			return get
		}
		return ""
	}
}
