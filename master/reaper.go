package master

import (
	"os"
	"strconv"
	"syscall"
)

// reapStrangers waits for dead children that the master did not start: as PID
// 1 of a container it inherits every orphan there. It returns how many it found.
func reapStrangers(kin *family) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	kin.mu.Lock()
	defer kin.mu.Unlock()
	reaped := 0
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || kin.own[pid] {
			continue
		}
		if s, err := readStat(pid); err != nil || s.state != 'Z' || s.parent != os.Getpid() {
			continue
		}
		if got, _ := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); got == pid {
			reaped++
		}
	}
	return reaped
}
