//go:build !linux

package master

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

var errLinuxOnly = errors.New("pushd runs on Linux only")

func supported() error { return errLinuxOnly }

func forkUnprivileged(string, []string, *syscall.ProcAttr) (int, error) {
	return 0, errLinuxOnly
}
func redirect(int, int) error                            { return errLinuxOnly }
func dupAbove(int, int) (int, error)                     { return -1, errLinuxOnly }
func setUserTimeout(int, int64) error                    { return errLinuxOnly }
func setKeepAlive(int, int64) error                      { return errLinuxOnly }
func monotonicMicros() int64                             { return 0 }
func asUser(*syscall.Credential, func() error) error     { return errLinuxOnly }
func mayWrite(string) error                              { return errLinuxOnly }
func tryBind(int, net.IP, int) error                     { return errLinuxOnly }
func peerOf(*net.UnixConn) (uid, gid uint32, err error)  { return 0, 0, errLinuxOnly }
func acceptWaiting(*net.UnixListener) []*net.UnixConn    { return nil }
func setName(string)                                     {}
func newSealed(string, []byte) (*os.File, error)         { return nil, errLinuxOnly }
func newShared(string, int64) (*os.File, error)          { return nil, errLinuxOnly }
func newMemory(string, []byte) (*os.File, error)         { return nil, errLinuxOnly }
func ignoreInKernel([]os.Signal) (restore func())        { return func() {} }
func setInherited(int, bool) error                       { return errLinuxOnly }
func openProcess(pid int, start uint64) (*handle, error) { return nil, errLinuxOnly }

type handle struct{}

func (h *handle) signal(syscall.Signal) error { return errLinuxOnly }
func (h *handle) wait(time.Duration) bool     { return true }
func (h *handle) close()                      {}

func changed(*syscall.Stat_t) int64 { return 0 }

func dropsOf(int) uint64 { return 0 }
