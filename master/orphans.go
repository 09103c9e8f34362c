package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
}

// saveState writes the list of processes to the state file, by an atomic
// rename. It runs on the loop, with each spawn and each end.
func (m *master) saveState() {
	var state savedState
	for p := range m.live {
		state.Children = append(state.Children, Orphan{p.pid, p.start, p.unit.role, p.unit.name, p.slot.index})
	}
	for _, o := range m.orphans {
		if o.alive() {
			state.Children = append(state.Children, o)
		}
	}
	path := filepath.Join(m.o.RuntimeDir, stateFile)
	data, err := json.Marshal(state)
	if err == nil {
		err = os.WriteFile(path+".new", data, 0o640)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
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
	return readOrphans(runtimeDir)
}

func readOrphans(runtimeDir string) ([]Orphan, error) {
	path := filepath.Join(runtimeDir, stateFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var state savedState
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var found []Orphan
	for _, o := range state.Children {
		if o.alive() {
			found = append(found, o)
		}
	}
	return found, nil
}

// ClearOrphans tells the processes that a killed master left behind to leave,
// waits for them, kills those that take longer than timeout, and removes the
// files of that master. It returns how many there were.
func ClearOrphans(ctx context.Context, runtimeDir string, timeout time.Duration) (int, error) {
	if _, err := os.Stat(runtimeDir); err != nil {
		return 0, fmt.Errorf("look for processes of a killed master: %w", err)
	}
	lock, err := takeLock(runtimeDir) // no start comes in between
	if err != nil {
		return 0, err
	}
	defer releaseLock(lock)
	found, err := readOrphans(runtimeDir)
	if err != nil {
		return 0, err
	}
	if err := clearOrphans(ctx, found, timeout); err != nil {
		return 0, err
	}
	for _, name := range []string{stateFile, controlSock, busSock} {
		if err := os.Remove(filepath.Join(runtimeDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return len(found), fmt.Errorf("remove a killed master's file: %w", err)
		}
	}
	return len(found), nil
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
	found, err := readOrphans(m.o.RuntimeDir)
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
	if err := os.Remove(filepath.Join(m.o.RuntimeDir, stateFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.log.Warn("state file not removed", "error", err)
	}
}
