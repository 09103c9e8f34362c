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
