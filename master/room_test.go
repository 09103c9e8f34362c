//go:build linux

package master

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk: a check knows that nothing can be made on a disk that is full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(Room(dir), Room(filepath.Join(dir, "not", "there"))); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skip("needs the right to mount:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.WriteFile(dir+"/fill", make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	_, busy := Rehearse(context.Background(), &Plan{RuntimeDir: run}, nil)
	if len(busy) != 1 || busy[0].Subject != "runtime_dir" || !errors.Is(busy[0].Err, syscall.ENOSPC) || !strings.Contains(busy[0].Err.Error(), dir) {
		t.Errorf("%+v", busy)
	}
	d, err := makeFolder(run)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, err := range map[string]error{"made": d.Create("made", []byte("x"), 0o600), "written": d.write("written", []byte("x"), 0o600)} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), run+"/") || strings.Contains(err.Error(), "/proc/") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCreateInFolder: a file is made once, whole, and nothing is left beside it.
func TestCreateInFolder(t *testing.T) {
	d, err := makeFolder(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Create("a", []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Create("a", []byte("second"), 0o600); !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), filepath.Join(d.path, "a")) {
		t.Errorf("again: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(d.path, "a"))
	if names, _ := d.names(); string(text) != "first" || len(names) != 1 {
		t.Errorf("%q, %v, %q", text, err, names)
	}
}
