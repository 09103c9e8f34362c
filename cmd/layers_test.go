package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pushd/pushd/"

// TestLayers keeps the packages apart. Each rule says why.
func TestLayers(t *testing.T) {
	rules := []struct{ who, never, why string }{
		{"worker", "master", "a worker must run without a master in the same program"},
		{"worker", "worker/handler", "handlers are plugins of the worker"},
		{"worker", "protocol/pusher", "the worker knows no protocol's applications"},
		{"worker", "worker/broker", "the broker comes in through an interface"},
		{"worker", "worker/api", "the API is a client of the worker's bus"},
		{"worker", "worker/brokerd", "the worker process and the broker process are two"},
		{"worker", "cmd", "flags and config live in cmd"},
		{"worker", "worker/workertest", "tests stand on the worker"},
		{"worker/workertest", "worker/broker", "a test of a handler has no bus but its own"},
		{"worker/workertest", "cmd", "a test of a handler needs no process"},
		{"worker/broker", "worker/api", "the bus does not know who asks over it"},
		{"worker/broker", "worker/brokerd", "the bus does not know which process it is in"},
		{"worker/broker", "worker/handler", "handlers are plugins of the worker"},
		{"worker/order", "worker/handler", "orders are the same for every handler"},
		{"worker/order", "worker/api", "orders come in more ways than HTTP"},
		{"worker/api", "worker/handler", "the API speaks for every handler: what they share with it is a protocol"},
		{"worker/api", "worker/brokerd", "the API does not know which process it is in"},
		{"worker/brokerd", "master", "a broker process must run without a master in the same program"},
		{"worker/brokerd", "cmd", "flags and config live in cmd"},
		{"worker/brokerd", "worker/handler", "services are plugins, found by name"},
		{"worker/handler", "worker/brokerd", "a handler sees the worker only"},
		{"worker/handler", "worker/broker", "a handler sees the worker only"},
		{"worker/handler", "worker/api", "a handler sees the worker only"},
		{"worker/handler", "master", "a handler sees the worker only"},
		{"worker/handler", "cmd", "a handler sees the worker only"},
		{"master", "worker", "what can crash runs elsewhere"},
		{"master", "cmd", "the master acts on the plan, not on flags"},
		{"timer", "", "the wheel is a library"},
		{"worker/hub", "", "the hub is plain maps"},
		{"worker/handover", "", "it carries messages and descriptors and does not know what is in them"},
		{"worker/record", "", "it is how fields are written, not what becomes of them"},
		{"worker/history", "", "the history is plain bytes: no bus, no files, no clock"},
		{"protocol", "", "bytes in, messages out"},
		{"worker/handler/script/php", "", "PHP's files are data: nothing of ours runs in them"},
		{"worker/reactor", "", "sockets in, bytes out: it does not know what is said"},
		{"protocol/websocket", "", "bytes in, messages out"},
		{"protocol/http", "", "bytes in, messages out"},
		{"protocol/tls", "", "records in, bytes out: it has no socket and no clock"},
		{"protocol/pusher", "", "bytes in, messages out"},
		{"protocol/script", "", "bytes in, frames out"},
		{"worker/handler/script/child", "", "it starts programs and does not know what for"},
	}
	// What a package below the worker stands on, and nothing else of ours.
	below := []struct{ who, may, why string }{
		{"worker/bus", "worker/history", "it is what is said, not who says it"},
		{"worker/settings", "worker/channel protocol/certs", "settings are values: what they do is elsewhere"},
		{"worker/memory", "", "it looks at the heap, not at what is in it"},
		{"worker/fault", "protocol/tls", "a moment is a name"},
		{"worker/delivered", "worker/bus", "it counts the stream; who gets what, and how, is the worker's"},
		{"worker/survey", "worker/bus protocol/control", "questions and answers are values: who has to answer is elsewhere"},
		{"worker/paths", "", "what is behind a path is not known"},
		{"worker/connid", "", "it is a name: what has it is not known"},
		{"worker/service", "worker/bus worker/channel worker/nodes", "a service is a contract: it knows no worker and no broker"},
	}
	outside := []struct{ who, only, why string }{
		{"github.com/panjf2000/gnet/v2", "worker/reactor", "one package stands on gnet"},
		{"github.com/gobwas/ws", "protocol/websocket", "one package names the WebSocket library"},
		{"github.com/urfave/cli/v2", "cmd", "flags live in cmd"},
		{"github.com/nats-io/nats.go", "worker/broker", "one package names the bus"},
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			for _, r := range rules {
				forbidden := strings.HasPrefix(imp, module+r.never)
				if r.never != "" {
					forbidden = imp == module+r.never || strings.HasPrefix(imp, module+r.never+"/")
				}
				if under(name, r.who) && forbidden && !under(strings.TrimPrefix(imp, module), r.who) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, r.why)
				}
			}
			for _, b := range below {
				ours, is := strings.CutPrefix(imp, module)
				if name == b.who && is && !slices.Contains(strings.Fields(b.may), ours) {
					t.Errorf("%s imports %s, and may import %q: %s", p.ImportPath, imp, b.may, b.why)
				}
			}
			for _, o := range outside {
				if imp == o.who && !under(name, o.only) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, o.why)
				}
			}
			if name == "worker" && (imp == "unsafe" || imp == "reflect") {
				t.Errorf("%s imports %s: what reaches into gnet is the reactor's", p.ImportPath, imp)
			}
		}
	}
}

// TestReactorAlone holds what no import shows: that connections and protocols
// know neither gnet nor how the reactor waits.
func TestReactorAlone(t *testing.T) {
	files, err := filepath.Glob("../worker/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"gnet", "epoll", "eventfd"} {
			if !strings.HasSuffix(file, "_test.go") && bytes.Contains(bytes.ToLower(text), []byte(word)) {
				t.Errorf("%s says %q: that belongs into worker/reactor", file, word)
			}
		}
	}
}

// under reports whether a package is who, or below it for folders of packages.
func under(name, who string) bool {
	if who == "worker" { // its sub-packages have rules of their own
		return name == who
	}
	return name == who || strings.HasPrefix(name, who+"/")
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) (list []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}
