//go:build !linux

package worker

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// On other systems the package compiles, for editors and vet; Serve fails.

var errLinux = errors.New("pushd runs on Linux only")

var origin0 = time.Now()

func clock() time.Duration { return time.Since(origin0) }

func twin(int) (int, error)              { return -1, errLinux }
func boundAddr(int) (net.Addr, error)    { return nil, errLinux }
func installWake(int) (int, int, error)  { return -1, -1, errLinux }
func signal(int)                         {}
func replace(int, int) error             { return errLinux }
func deafen(int)                         {}
func epollAdd(int, int, uint32) error    { return errLinux }
func epollModify(int, int, uint32) error { return errLinux }
func epollDelete(int, int)               {}
func openFiles() int                     { return 1024 }
func lowestFree() int                    { return -1 }
func shutWrite(int) bool                 { return false }
func reopenStderr(*os.File) error        { return errLinux }
func closeFD(int)                        {}
func neverBlock(int) error               { return errLinux }
func duplicate(int) (int, error)         { return -1, errLinux }
func processorTime() time.Duration       { return 0 }

func listenAbstract() (int, *address, error) { return -1, nil, errLinux }
func connectAbstract(*address) error         { return errLinux }
func ourOwn(int) bool                        { return false }
func peerOf(int) netip.AddrPort              { return netip.AddrPort{} }

type address struct{}

const (
	eventsRead = 0
	eventsNone = 0
)

type writable struct{ waiting map[int32]*Conn }

func newWritable(func()) (*writable, error) { return nil, errLinux }

func (*writable) close()              {}
func (*writable) watch(*loop, *Conn)  {}
func (*writable) rearm(*loop, *Conn)  {}
func (*writable) forget(*loop, *Conn) {}
func (*writable) flush(*loop)         {}
