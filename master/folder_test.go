//go:build linux

package master

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stranger is a user that this machine has no use for.
const stranger = 64002

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenFolder(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := CheckFolder(filepath.Join(dir, "none")); err != nil {
		t.Errorf("a start makes it: %v", err)
	}
	link := filepath.Join(dir, "link")
	own := filepath.Join(dir, "own")
	if err := errors.Join(os.Mkdir(own, 0o770), os.Symlink("own", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{own, link} {
		d, err := OpenFolder(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.write("a", []byte("b"), 0o600); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(filepath.Join(own, "a")); string(text) != "b" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
		d.Close()
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{filepath.Join(dir, "loop"): syscall.ELOOP, filepath.Join(own, "a"): syscall.ENOTDIR} {
		if _, err := OpenFolder(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if err := os.Chmod(own, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := CheckFolder(own); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a folder for everybody: %v", err)
	}
}

// TestFolderFollowsNoLinks: not in it, and not when its path leads elsewhere by then.
func TestFolderFollowsNoLinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	d, err := OpenFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "precious"), []byte("precious"), 0o600),
		os.Symlink(filepath.Join(dir, "precious"), filepath.Join(path, "link")),
		syscall.Mkfifo(filepath.Join(path, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.OpenFile("link", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link is followed: %v", err)
	}
	if _, err := d.Open("fifo"); err == nil {
		t.Error("a FIFO is opened")
	}
	if err := errors.Join(os.Rename(path, path+".old"), os.Mkdir(path, 0o750)); err != nil {
		t.Fatal(err)
	}
	if err := d.write("state", []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".old/state"); err != nil {
		t.Error(err)
	}
	if err := d.Remove("state"); err != nil {
		t.Error(err)
	}
}

// TestFolderOfAnotherUser: where nobody but root could have put one, commands go
// there, and believe what it says of its user's processes. Anywhere else, and
// for a start, it is a stranger's.
func TestFolderOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives folders away: needs root")
	}
	systems, err := os.MkdirTemp("/run", "pushd-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(systems) })
	sleeper := func(uid uint32) *exec.Cmd {
		c := exec.Command("sleep", "600")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		return c
	}
	var state savedState
	ours, theirs := sleeper(0), sleeper(stranger)
	for _, c := range []*exec.Cmd{ours, theirs} {
		st, err := readStat(c.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		state.Children = append(state.Children, Orphan{PID: c.Process.Pid, Start: st.start, Name: "x"})
	}
	data, _ := json.Marshal(state)
	for _, dir := range []string{systems, t.TempDir()} {
		path := filepath.Join(dir, "run")
		if err := errors.Join(os.Mkdir(path, 0o755), os.WriteFile(filepath.Join(path, stateFile), data, 0o644),
			os.Chmod(dir, 0o755), os.Chown(path, stranger, stranger)); err != nil {
			t.Fatal(err)
		}
		if err := CheckFolder(path); err == nil || !strings.Contains(err.Error(), "belongs to user 64002") {
			t.Errorf("start in %s: %v", path, err)
		}
		if d, err := OpenFolder(path, stranger); err != nil {
			t.Errorf("a user who was named: %v", err)
		} else {
			d.Close()
		}
		found, err := FindOrphans(path)
		_, dialled := Dial(path)
		if dir == systems {
			if err != nil || len(found) != 1 || found[0].PID != theirs.Process.Pid || !errors.Is(dialled, ErrNotRunning) {
				t.Errorf("%s: %v, %v, %v", path, found, err, dialled)
			}
			continue
		}
		if err == nil || dialled == nil || errors.Is(dialled, ErrNotRunning) {
			t.Errorf("%s: %v, %v, %v", path, found, err, dialled)
		}
	}
	if _, err := ClearOrphans(ctxFor(t), filepath.Join(systems, "run"), time.Second); err != nil {
		t.Error(err)
	}
	if err := theirs.Wait(); err == nil {
		t.Error("the user's process has not been stopped")
	}
	if !aliveSince(ours.Process.Pid, state.Children[0].Start) {
		t.Error("a user's folder had root's process stopped")
	}
}

// TestOfAnotherBoot: what a folder on disk says of the time before the machine
// was started names nobody, whoever has the number and the start time now.
func TestOfAnotherBoot(t *testing.T) {
	dir := t.TempDir()
	me, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for boot, want := range map[string]bool{"": true, bootID(): true, "another": false} {
		lock, _ := json.Marshal(owner{PID: os.Getpid(), Start: me.start, Boot: boot})
		state, _ := json.Marshal(savedState{Children: []Orphan{{PID: os.Getpid(), Start: me.start}}, Boot: boot})
		if err := os.WriteFile(filepath.Join(dir, stateFile), state, 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := FindOrphans(dir); err != nil || (len(found) == 1) != want {
			t.Errorf("boot %q: orphans %v, %v", boot, found, err)
		}
		if err := os.WriteFile(filepath.Join(dir, lockFile), lock, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := MasterPID(dir); ok != want {
			t.Errorf("boot %q: a master is found: %v", boot, ok)
		}
		os.Remove(filepath.Join(dir, lockFile))
	}
	if bootID() == "" {
		t.Error("this system tells no boot id")
	}
}
