package master

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DataInUseError is Run's error when another master has the data directory. Two on
// one folder would give one position to two messages, and one would never send its
// webhooks.
type DataInUseError struct {
	Dir string
	PID int // 0 = not known, as in another container
}

func (e *DataInUseError) Error() string {
	by := "another pushd"
	if e.PID > 0 {
		by = fmt.Sprintf("pid %d (%s)", e.PID, programOf(e.PID))
	}
	return fmt.Sprintf("%s is in use by %s: give each server a folder of its own (data_dir, or PUSHD_DATA_DIR in the environment)", e.Dir, by)
}

// dataWait is how long somebody else may have a data directory: a master that was
// killed, or a check that looks, lets go of it in a moment.
const dataWait = 5 * time.Second

// lockData locks the data directory of a plan for as long as this process runs.
// A folder that cannot be made or locked is left to those who need it. It runs on
// Run's goroutine.
func (m *master) lockData(d *DataPlan) error {
	if d == nil || m.data[d.Dir] != nil {
		return nil
	}
	if d.make() != nil {
		return nil
	}
	f, err := openData(d.Dir, dataWait)
	if f != nil {
		m.data[d.Dir] = f
	}
	return err
}

// brokerData is what the broker process of now keeps.
func (m *master) brokerData() (d *DataPlan) {
	m.do(func() {
		if m.broker != nil {
			d = m.broker.unit.data
		}
	})
	return d
}

// unlockData lets go of all data directories but that of d.
func (m *master) unlockData(d *DataPlan) {
	for dir, f := range m.data {
		if d == nil || dir != d.Dir {
			f.Close()
			delete(m.data, dir)
		}
	}
}

// openData locks dir. Neither a file nor an error: it cannot be locked, as on some
// network file systems, or is not there.
func openData(dir string, wait time.Duration) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, nil
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		busy := errors.Is(err, syscall.EWOULDBLOCK)
		switch {
		case err == nil:
			return f, nil
		case busy && time.Now().Before(deadline):
			continue
		case busy:
			err = &DataInUseError{Dir: dir, PID: holder(f)}
		default:
			err = nil
		}
		f.Close()
		return nil, err
	}
}

// dataFree says who has the data directory of d, nil if nobody.
func dataFree(d *DataPlan) error {
	if d == nil {
		return nil
	}
	f, err := openData(d.Dir, 0)
	if f != nil {
		f.Close()
	}
	return err
}

// holder returns the process that has a lock on f, 0 if it cannot be told.
func holder(f *os.File) int {
	var s syscall.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || syscall.Fstat(int(f.Fd()), &s) != nil {
		return 0
	}
	dev := uint64(s.Dev)
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), s.Ino)
	for line := range strings.Lines(string(locks)) {
		// 7: FLOCK  ADVISORY  WRITE 1234 fe:01:4711 0 EOF
		if w := strings.Fields(line); len(w) > 5 && w[1] == "FLOCK" && w[5] == file {
			pid, _ := strconv.Atoi(w[4])
			return max(pid, 0)
		}
	}
	return 0
}

func programOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "gone"
	}
	return strings.TrimSpace(string(name))
}
