package load

import (
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of a WebSocket's ping without a payload, and of its answer, which is masked.
const pingBytes, pongBytes = 2, 6

// BarePing returns the CPU time that a heartbeat takes if nothing but the system
// calls is counted: a write of a ping and a read of its answer, on a socket of this
// machine, by one thread that never waits. What a server takes is to be compared
// with this, in the same run. As many sockets as the server has make what the kernel
// keeps of each as cold as it is there: 4,000 of them cost a third more than 64.
func BarePing(sockets, rounds int) (each time.Duration, err error) {
	ours, theirs, err := pairs(sockets)
	defer func() {
		for _, fd := range append(ours, theirs...) {
			_ = unix.Close(fd)
		}
	}()
	if err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	buf := make([]byte, 64)
	var spent time.Duration
	for range rounds {
		begin := threadTime()
		for _, fd := range ours {
			if _, err := unix.Write(fd, buf[:pingBytes]); err != nil {
				return 0, fmt.Errorf("write a ping: %w", err)
			}
		}
		spent += threadTime() - begin
		for _, fd := range theirs {
			if err := answer(fd, buf); err != nil {
				return 0, err
			}
		}
		begin = threadTime()
		for _, fd := range ours {
			if n, err := unix.Read(fd, buf); n != pongBytes || err != nil {
				return 0, fmt.Errorf("read an answer: %d bytes, %w", n, err)
			}
		}
		spent += threadTime() - begin
	}
	return spent / time.Duration(rounds*sockets), nil
}

// answer is the client's part, which is not counted.
func answer(fd int, buf []byte) error {
	if _, err := unix.Read(fd, buf); err != nil {
		return fmt.Errorf("read a ping: %w", err)
	}
	if _, err := unix.Write(fd, buf[:pongBytes]); err != nil {
		return fmt.Errorf("answer a ping: %w", err)
	}
	return nil
}

// pairs connects n sockets of this process with each other by TCP. With an error
// too, those that it returns are open.
func pairs(n int) (ours, theirs []int, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = ln.Close() }()
	for range n {
		for _, list := range []*[]int{&theirs, &ours} {
			dial := func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }
			if list == &ours {
				dial = ln.Accept
			}
			c, err := dial()
			if err != nil {
				return ours, theirs, err
			}
			f, err := c.(*net.TCPConn).File()
			_ = c.Close()
			if err != nil {
				return ours, theirs, err
			}
			fd, err := unix.Dup(int(f.Fd())) // which makes it block
			_ = f.Close()
			if err != nil {
				return ours, theirs, err
			}
			*list = append(*list, fd)
		}
	}
	return ours, theirs, nil
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // cannot fail
	return time.Duration(t.Nano())
}
