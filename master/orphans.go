package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/control"
)

// Orphan is a process of a master that was killed. It notices by the end of its
// control channel, closes its listeners, drains its clients and ends by itself.
type Orphan struct {
	PID   int          `json:"pid"`
	Start uint64       `json:"start"` // procStat.start
	Role  control.Role `json:"role"`
	Name  string       `json:"name"`
	Slot  int          `json:"slot"`
}

// alive says whether o still runs; a reused pid is somebody else.
func (o Orphan) alive() bool { return aliveSince(o.PID, o.Start) }

// savedState is what a master leaves for the one after it.
type savedState struct {
	Children []Orphan `json:"children"`
	Boot     string   `json:"boot,omitempty"` // a folder may outlive the machine's uptime
}

// stateMax bounds what is read of the state file, in bytes.
const stateMax = 4 << 20

// saveState writes the list of processes to the state file, by an atomic
// rename. It runs on the loop, with each spawn and each end.
func (m *master) saveState() {
	state := savedState{Boot: bootID()}
	for p := range m.live {
		state.Children = append(state.Children, Orphan{p.pid, p.start, p.unit.role, p.unit.name, p.slot.index})
	}
	for _, o := range m.orphans {
		if o.alive() {
			state.Children = append(state.Children, o)
		}
	}
	data, err := json.Marshal(state)
	if err == nil {
		err = m.dir.write(stateFile, data, 0o640)
	}
	if err != nil { // e.g. a full disk: the service goes on
		m.log.Warn("state not saved: if the master is killed now, stop cannot find what it leaves behind", "error", err)
	}
}

// FindOrphans returns the live processes that a killed master left behind in
// runtimeDir. It is an error to ask while a master runs there.
func FindOrphans(runtimeDir string) ([]Orphan, error) {
	if pid, ok := MasterPID(runtimeDir); ok {
		return nil, &AlreadyRunningError{PID: pid, Dir: runtimeDir}
	}
	dir, err := OpenShared(runtimeDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for processes of a killed master: %w", err)
	}
	defer dir.Close()
	return readOrphans(dir)
}

func readOrphans(dir *Folder) ([]Orphan, error) {
	data, err := dir.read(stateFile, stateMax)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var state savedState
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s in %s: %w", stateFile, dir.path, err)
	}
	var found []Orphan
	for _, o := range state.Children {
		if thisBoot(state.Boot) && o.alive() && dir.speaksFor(o.PID) {
			found = append(found, o)
		}
	}
	return found, nil
}

// ClearOrphans tells the processes that a killed master left behind to leave,
// waits for them, kills those that take longer than timeout, and removes the
// files of that master. It returns how many there were.
func ClearOrphans(ctx context.Context, runtimeDir string, timeout time.Duration) (int, error) {
	dir, err := OpenShared(runtimeDir)
	if err != nil {
		return 0, fmt.Errorf("look for processes of a killed master: %w", err)
	}
	defer dir.Close()
	lock, err := takeLock(dir) // no start comes in between
	if err != nil {
		return 0, err
	}
	defer releaseLock(lock)
	found, err := readOrphans(dir)
	if err != nil {
		return 0, err
	}
	if err := clearOrphans(ctx, found, timeout); err != nil {
		return 0, err
	}
	for _, name := range []string{stateFile, controlSock, busSock} {
		if err := dir.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return len(found), fmt.Errorf("remove a killed master's file: %w", err)
		}
	}
	return len(found), nil
}

// speaksFor says whether a master whose folder d is could have had that process.
// Only root's had others than its own user's.
func (d *Folder) speaksFor(pid int) bool {
	if d.owner == 0 {
		return true
	}
	var proc syscall.Stat_t
	err := syscall.Stat(fmt.Sprintf("/proc/%d", pid), &proc)
	return err == nil && proc.Uid == d.owner
}

func clearOrphans(ctx context.Context, orphans []Orphan, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var failed error
	left := make(map[Orphan]*handle)
	for _, o := range orphans {
		h, err := openProcess(o.PID, o.Start)
		if errors.Is(err, errGone) {
			continue
		}
		if err == nil {
			defer h.close()
			err = h.signal(syscall.SIGTERM)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			failed = errors.Join(failed, fmt.Errorf("stop %s, pid %d: %w", o.Name, o.PID, err))
			continue
		}
		left[o] = h
	}
	for o, h := range left {
		for !h.wait(50 * time.Millisecond) {
			if ctx.Err() == nil {
				continue
			}
			_ = h.signal(syscall.SIGKILL) // fails only when it is gone
			if !h.wait(destroyBound) {
				failed = errors.Join(failed, fmt.Errorf("%s, pid %d, does not even end when killed", o.Name, o.PID))
			}
			break
		}
	}
	return failed
}

// findOrphans remembers what a killed master left, so that stop can clear it.
func (m *master) findOrphans() {
	found, err := readOrphans(m.dir)
	if err != nil {
		m.log.Warn("processes of an earlier master not looked for", "error", err)
	}
	for _, o := range found {
		m.log.Warn("a process of a killed master still drains its clients", "pid", o.PID, "name", o.Name, "slot", o.Slot)
	}
	m.orphans = found
}

// awaitOrphans is the part of shutdown that clears what was found at the start.
func (m *master) awaitOrphans() {
	if err := clearOrphans(context.Background(), m.orphans, m.t.leaveBus); err != nil {
		m.log.Warn("a killed master's processes not cleared", "error", err)
	}
}

// removeFiles removes what the master made in the runtime directory, but for
// the lock. It runs on the loop, when no child is left.
func (m *master) removeFiles() {
	if err := m.dir.Remove(stateFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.log.Warn("state file not removed", "error", err)
	}
}
