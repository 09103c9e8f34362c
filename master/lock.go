package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Files in the runtime directory.
const (
	lockFile    = "pushd.lock"
	stateFile   = "state.json"
	controlSock = "control.sock"
	busSock     = "bus.sock"
)

// AlreadyRunningError is Run's error when another master has the runtime
// directory.
type AlreadyRunningError struct {
	PID int // 0 = it has not said yet
	Dir string
}

func (e *AlreadyRunningError) Error() string {
	if e.PID == 0 {
		return "another pushd is starting in " + e.Dir
	}
	return fmt.Sprintf("already running with pid %d in %s: use reload, restart or stop", e.PID, e.Dir)
}

// ownerMax is more than an owner takes in the lock file, in bytes.
const ownerMax = 4 << 10

// owner is what the lock file says. The flock on it is the lock; these numbers
// are for those who ask who has it.
type owner struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // procStat.start, so that a reused pid is no match
	Boot  string `json:"boot,omitempty"`
}

// takeLock locks dir for this process until the returned file is closed. The
// file is not inherited by children and stays on disk, empty, after release.
func takeLock(dir *Folder) (*os.File, error) {
	f, err := dir.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w (choose another runtime_dir, or run as the user that owns it)", err)
	}
	owner, err := flock(f, dir)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, &AlreadyRunningError{PID: owner, Dir: dir.path}
	}
	if err == nil {
		err = writeOwner(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

func writeOwner(f *os.File) error {
	s, err := readStat(os.Getpid())
	if err != nil {
		return err
	}
	data, err := json.Marshal(owner{PID: os.Getpid(), Start: s.start, Boot: bootID()})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return err
}

// lockWait is how long a lock may be held by nobody that it names.
const lockWait = 5 * time.Second

// flock locks f. If a live process has it, the error is EWOULDBLOCK, with its
// pid. One that the file does not name yet has just begun; one that it names and
// that is dead was killed, and the kernel, or a child that it was about to start,
// will let go of the lock in a moment.
func flock(f *os.File, dir *Folder) (owner int, err error) {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return 0, err
		}
		if o, ok := readOwner(dir); ok {
			return o.PID, err
		}
		if time.Now().After(deadline) {
			return 0, err
		}
	}
}

// readOwner returns the live process that the lock file names.
func readOwner(dir *Folder) (o owner, ok bool) {
	data, err := dir.read(lockFile, ownerMax)
	if err != nil || json.Unmarshal(data, &o) != nil {
		return owner{}, false
	}
	return o, o.PID > 0 && thisBoot(o.Boot) && aliveSince(o.PID, o.Start)
}

// MasterPID returns the pid of the master that runs in runtimeDir. A number
// left behind by a killed master is no match, whoever has it now, and neither is
// one that stands in a stranger's folder.
func MasterPID(runtimeDir string) (pid int, ok bool) {
	dir, err := OpenShared(runtimeDir)
	if err != nil {
		return 0, false
	}
	defer dir.Close()
	o, ok := readOwner(dir)
	return o.PID, ok
}

// releaseLock empties the lock file and lets go.
func releaseLock(f *os.File) {
	_ = f.Truncate(0) // a leftover would only be an owner that is not alive
	f.Close()
}
