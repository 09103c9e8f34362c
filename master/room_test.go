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
}
