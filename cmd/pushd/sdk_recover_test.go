package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// recoverJS is what pushd serves to pages beside pusher-js.
func recoverJS(t *testing.T) string {
	t.Helper()
	return filepath.Join(pushdtest.Root(t), "worker/handler/pusher/recover.js")
}

// TestRecoverScriptByItself plays a server to pusher-js and the script, frame by
// frame, with connections cut where it hurts.
func TestRecoverScriptByItself(t *testing.T) {
	out, err := exec.Command("node", filepath.Join(sdk(t), "script.mjs"), recoverJS(t)).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v\n%s", err, out)
	}
}

// recoverConfig keeps the last messages of all channels of the app.
const recoverConfig = sdkConfig + `
[[channel]]
match = "*"
app = "1"
history = 1000
`

// TestRecoverSDK drives pusher-js and laravel-echo, with the connection cut and
// put back, through a reload, a killed worker and a killed broker process.
func TestRecoverSDK(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: recoverConfig})
	p := talk(t, s, "node", filepath.Join(sdk(t), "recover.mjs"), recoverJS(t))
	p.steer(s)
}
