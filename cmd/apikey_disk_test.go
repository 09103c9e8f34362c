//go:build linux

package cmd

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pushd/pushd/worker/brokerd"
)

// TestKeyOnAFullDisk: what cannot be written is named as people know it.
func TestKeyOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=16k,mode=0755"); err != nil {
		t.Skip("needs the right to mount:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if err := os.WriteFile(dir+"/fill", make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	_, err := brokerSpec{Settings: brokerd.Settings{DataDir: dir}}.apiKey(0)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir+"/") || strings.Contains(err.Error(), "/proc/") {
		t.Error(err)
	}
}
