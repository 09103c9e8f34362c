//go:build !linux

package reactor

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// On other systems the package compiles, for editors and vet; New fails.

// ErrLinux says so.
var ErrLinux = errors.New("pushd runs on Linux only")

func twin(int) (int, error)                      { return -1, ErrLinux }
func boundAddr(int) (net.Addr, error)            { return nil, ErrLinux }
func installWake(int) (int, int, error)          { return -1, -1, ErrLinux }
func blank() (int, error)                        { return -1, ErrLinux }
func signal(int)                                 {}
func replace(int, int) error                     { return ErrLinux }
func deafen(int)                                 {}
func epollAdd(int, int, uint32, uint32) error    { return ErrLinux }
func epollModify(int, int, uint32, uint32) error { return ErrLinux }
func epollDelete(int, int)                       {}
func sendNow(int, []byte) (int, unix.Errno)      { return 0, unix.ENOSYS }
func shutWrite(int) bool                         { return false }
func unread(int) bool                            { return false }
func silence(int) time.Duration                  { return 0 }
func closeFD(int)                                {}
func readable(int) bool                          { return false }

// OpenFiles returns a guess.
func OpenFiles() int { return 1024 }

// LowestFree knows no number.
func LowestFree() int { return -1 }

// Descriptors knows no number.
func Descriptors(bool) int { return -1 }

// Spare says yes.
func Spare(int) bool { return true }

// OpenBalance fails.
func OpenBalance(int, int) (*Balance, error) { return nil, ErrLinux }

// Duplicate fails.
func Duplicate(int) (int, error) { return -1, ErrLinux }

func listenAbstract() (int, *address, error) { return -1, nil, ErrLinux }
func connectAbstract(*address) error         { return ErrLinux }
func ourOwn(int) bool                        { return false }
func peerOf(int) netip.AddrPort              { return netip.AddrPort{} }

type address struct{}

const (
	eventsRead = 0
	eventsNone = 0

	eventsAccept = 0
)

type writable struct{ waiting map[int32]struct{} }

func newWritable(func()) (*writable, error) { return nil, ErrLinux }

func (*writable) close()             {}
func (*writable) await(Handle) error { return ErrLinux }
func (*writable) forget(Handle)      {}
func (*writable) flush(func(Handle)) {}

// SendTo sends a datagram from listener i.
func (r *Reactor[C]) SendTo(int, netip.AddrPort, []byte) error { return ErrLinux }
