//go:build !linux

package child

import (
	"errors"
	"os"
	"syscall"
)

// On other systems the package compiles, for editors and vet; Start fails.

func socketpair() (ours, theirs *os.File, err error) {
	return nil, nil, errors.New("pushd runs on Linux only")
}

func attributes() *syscall.SysProcAttr { return nil }
func forbidRights() error              { return nil }
func limitMemory(int, int64) error     { return nil }

func hangup(*os.File, bool) {}
func unread(*os.File) int   { return 0 }

// Resident returns the bytes of memory that the process occupies. Any goroutine.
func (p *Process) Resident() int64 { return 0 }
