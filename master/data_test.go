//go:build linux

package master

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestEntrust: what pushd keeps is given to the broker process's user, what is
// not pushd's is not, and no link leads elsewhere.
func TestEntrust(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files away: needs root")
	}
	base := t.TempDir()
	dir := filepath.Join(base, "data")
	u := &unit{cred: &syscall.Credential{Uid: stranger, Gid: stranger}, data: &DataPlan{Dir: dir, Files: []string{"api.key", "webhooks"}}}
	owner := func(name string) int {
		t.Helper()
		info, err := os.Lstat(filepath.Join(base, name))
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	if err := u.entrust(nil); err != nil || owner("data") != stranger {
		t.Fatalf("a folder that was missing: %v", err)
	}
	if err := errors.Join(os.Chown(dir, 0, 0), os.Mkdir(dir+"/webhooks", 0o700), os.WriteFile(base+"/precious", nil, 0o600),
		os.WriteFile(base+"/linked", nil, 0o600), os.Symlink(base+"/precious", dir+"/api.key"), os.Link(base+"/linked", dir+"/.api.key-1"),
		os.WriteFile(dir+"/webhooks/journal", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := u.entrust(nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"data": stranger, "data/webhooks": stranger, "data/webhooks/journal": stranger, "precious": 0, "linked": 0} {
		if got := owner(name); got != want {
			t.Errorf("%s belongs to %d, want %d", name, got, want)
		}
	}
	config := filepath.Join(dir, "pushd.toml")
	if err := errors.Join(os.WriteFile(config, nil, 0o600), os.Chown(dir, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := u.entrust(nil); err == nil || !strings.Contains(err.Error(), "pushd.toml") || owner("data") != 0 {
		t.Errorf("a folder with other things in it: %v, it belongs to %d", err, owner("data"))
	}
	if err := errors.Join(os.Remove(config), os.Chown(dir, stranger+1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := u.entrust(nil); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("a stranger's folder: %v", err)
	}
	if err := u.entrust(&syscall.Credential{Uid: stranger + 1}); err != nil || owner("data") != stranger {
		t.Errorf("the folder of the process before: %v", err)
	}
	back := &unit{data: u.data}
	if err := back.entrust(u.cred); err != nil || owner("data") != 0 || owner("data/webhooks/journal") != 0 {
		t.Errorf("back to root: %v", err)
	}
}
