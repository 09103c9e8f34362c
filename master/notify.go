package master

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// What a service manager is told (sd_notify).
const (
	isReady    = "READY=1"
	isStopping = "STOPPING=1"
	isAlive    = "WATCHDOG=1"
)

// isReloading is told when a reload begins; isReady follows, however it ends.
// The time is that of CLOCK_MONOTONIC, as Type=notify-reload wants it.
func isReloading() string {
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonicMicros())
}

// managerEnv are the variables by which a service manager talks to the master,
// and not to its children.
var managerEnv = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// aliveEvery is how often the service manager wants to hear from this process,
// halved; 0 = never.
func aliveEvery() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	n, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || n <= 0 || n > int64(maxAlive/time.Microsecond) {
		return 0
	}
	return time.Duration(n) * time.Microsecond / 2
}

// maxAlive bounds what WATCHDOG_USEC may say.
const maxAlive = 10 * 365 * 24 * time.Hour

// keepAlive sends a value when the service manager is to hear from the loop.
// stop ends that.
func keepAlive() (due <-chan time.Time, stop func()) {
	every := aliveEvery()
	if every == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

// notifyBound is how long a manager may take to make room for a message, so
// that one that hangs holds up nobody.
const notifyBound = 100 * time.Millisecond

// notifyManager tells a service manager (systemd, Type=notify) how the master
// is, e.g. "READY=1". Without one it does nothing.
func notifyManager(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") { // Linux's abstract namespace
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager %s: %w", state, err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(notifyBound))
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager %s: %w", state, err)
	}
	return nil
}
