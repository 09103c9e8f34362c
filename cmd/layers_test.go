package cmd_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/pushd/pushd/"

// TestLayers keeps the packages apart. Each rule says why.
func TestLayers(t *testing.T) {
	rules := []struct{ who, never, why string }{
		{"worker", "master", "a worker must run without a master in the same program"},
		{"worker", "worker/handler", "handlers are plugins of the worker"},
		{"worker", "worker/broker", "the broker comes in through an interface"},
		{"worker", "worker/api", "the API is a client of the worker's bus"},
		{"worker", "cmd", "flags and config live in cmd"},
		{"worker/broker", "worker/api", "the bus does not know who asks over it"},
		{"worker/broker", "worker/handler", "handlers are plugins of the worker"},
		{"worker/order", "worker/handler", "orders are the same for every handler"},
		{"worker/order", "worker/api", "orders come in more ways than HTTP"},
		{"worker/api", "worker/handler", "the API speaks for every handler: what they share with it is a protocol"},
		{"worker/handler", "master", "a handler sees the worker only"},
		{"worker/handler", "cmd", "a handler sees the worker only"},
		{"master", "worker", "what can crash runs elsewhere"},
		{"master", "cmd", "the master acts on the plan, not on flags"},
		{"timer", "", "the wheel is a library"},
		{"worker/hub", "", "the hub is plain maps"},
		{"protocol", "", "bytes in, messages out"},
		{"protocol/websocket", "", "bytes in, messages out"},
		{"protocol/http", "", "bytes in, messages out"},
		{"protocol/pusher", "", "bytes in, messages out"},
	}
	outside := []struct{ who, only, why string }{
		{"github.com/panjf2000/gnet/v2", "worker", "one package stands on gnet"},
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
			for _, o := range outside {
				if imp == o.who && !under(name, o.only) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, o.why)
				}
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
