package testkit

import (
	"os"
	"syscall"
	"testing"
)

// WriteProgram puts a program at path, whole or not at all, as a deploy does:
// it is written beside and renamed. No process starts from here while the file
// is open for writing: a child between fork and exec holds it open as well,
// and a program that somebody may write to is refused as "text file busy".
func WriteProgram(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(path+".new", data, mode)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
