package master

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// errGone says that a process is not, or no longer, the one that was meant.
var errGone = errors.New("process is gone")

// procStat is what pushd reads of /proc/PID/stat.
type procStat struct {
	state  byte // 'R', 'S', 'Z' …
	parent int
	tty    int    // number of the controlling terminal, 0 = none
	flags  uint64 // PF_* of the kernel
	start  uint64 // clock ticks since boot; with the pid it names a process for good
	rss    int64  // pages
}

// parseStat reads a line of /proc/PID/stat. The name in it, in parentheses, may
// hold spaces and parentheses itself, so that fields are counted after the last.
func parseStat(line []byte) (s procStat, err error) {
	_, rest, ok := bytes.Cut(line[max(bytes.LastIndexByte(line, ')'), 0):], []byte(") "))
	f := bytes.Fields(rest)
	if !ok || len(f) < 22 {
		return s, errors.New("malformed stat line")
	}
	s.state = f[0][0]
	if s.parent, err = strconv.Atoi(string(f[1])); err != nil {
		return s, fmt.Errorf("parent pid: %w", err)
	}
	if s.tty, err = strconv.Atoi(string(f[4])); err != nil {
		return s, fmt.Errorf("terminal: %w", err)
	}
	if s.flags, err = strconv.ParseUint(string(f[6]), 10, 64); err != nil {
		return s, fmt.Errorf("flags: %w", err)
	}
	if s.start, err = strconv.ParseUint(string(f[19]), 10, 64); err != nil {
		return s, fmt.Errorf("start time: %w", err)
	}
	if s.rss, err = strconv.ParseInt(string(f[21]), 10, 64); err != nil {
		return s, fmt.Errorf("resident pages: %w", err)
	}
	return s, nil
}

// bootID names the time since the machine was started: pids and start times
// come again in the next. "" = the system has none.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(id))
}

// thisBoot says whether a file was written since the machine was started. Older
// programs wrote no id.
func thisBoot(id string) bool { return id == "" || id == bootID() }

func readStat(pid int) (procStat, error) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	s, err := parseStat(line)
	if err != nil {
		return s, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

// exiting is the kernel's PF_EXITING: a process that was killed has it from then on,
// while its memory and files are still being given back, until it waits to be reaped.
const exiting = 4

// aliveSince says whether pid is a live process that started at start. One that is
// on its way out, or only waits to be reaped, is not alive.
func aliveSince(pid int, start uint64) bool {
	s, err := readStat(pid)
	return err == nil && s.start == start && s.flags&exiting == 0 && s.state != 'Z' && s.state != 'X'
}

// rssBytes returns the resident memory of a process, 0 if it is gone.
func rssBytes(pid int) int64 {
	s, err := readStat(pid)
	if err != nil {
		return 0
	}
	return s.rss * int64(os.Getpagesize())
}
