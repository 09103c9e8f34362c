package sequencer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pushd/pushd/worker/history"
)

// A folder holds what is kept of channels between two processes: segments of
// frames, written one behind the other, and a state that says what belongs to
// it. Nothing is synced while messages are numbered, so it outlives a process
// but not a machine that ends in an unorderly way; that is known by the boot id.
// What was cut off or changed is known by sums, and by the bytes that were
// written. In all of these cases the history begins anew, with new epochs.
//
//	state       JSON, replaced as a whole
//	written     bytes in the segments, 8, overwritten with each append
//	G-N.segment
type folder struct {
	dir     string
	state   folderState
	segment *os.File // that is appended to; nil = the next append opens one
	written *os.File
	size    int // of segment
	next    int // number of the next segment
	total   int // bytes in all segments
}

// folderState is the file state.
type folderState struct {
	Generation int    `json:"generation"` // of the segments that count
	Boot       string `json:"boot"`       // of the machine, when it was written
	Clean      bool   `json:"clean"`      // nothing was numbered that is not here
}

// The names of the folder, below data_dir, and of what is in it.
const (
	folderName  = "history"
	stateName   = "state"
	writtenName = "written"
	segmentEnd  = ".segment"
	segmentSize = 1 << 20
)

// errNotWhole is a history of which something is missing.
var errNotWhole = errors.New("something of it is missing or was changed")

// bootID names the time since the machine was started.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // unlike every other
	}
	return strings.TrimSpace(string(raw))
}

// load reads what another process has left into an empty store. With
// fs.ErrNotExist there is nothing. After any other error the store is not to be
// used.
func (f *folder) load(s *history.Store, boot string) error {
	raw, err := os.ReadFile(filepath.Join(f.dir, stateName))
	if err == nil {
		err = json.Unmarshal(raw, &f.state)
	}
	if err != nil {
		return err
	}
	if !f.state.Clean && (boot == "" || f.state.Boot != boot) {
		return errors.New("the machine has ended in an unorderly way")
	}
	raw, err = os.ReadFile(filepath.Join(f.dir, writtenName))
	if err != nil {
		return err
	}
	if len(raw) != 8 {
		return errNotWhole
	}
	if err := f.loadSegments(history.NewLoader(s)); err != nil {
		return err
	}
	if uint64(f.total) < binary.BigEndian.Uint64(raw) {
		return errNotWhole
	}
	return nil
}

// loadSegments reads the segments in order. Behind the last whole frame there
// may be a part of one, if the process was killed while it wrote it; what it
// would have said was said to nobody.
func (f *folder) loadSegments(l *history.Loader) error {
	for ; ; f.next++ {
		name := f.segmentName(f.state.Generation, f.next)
		raw, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			l.Done()
			return nil
		}
		if err != nil {
			return err
		}
		n := l.Frames(raw)
		f.total += n
		if n < len(raw) {
			if err := os.Truncate(name, int64(n)); err != nil {
				return err
			}
		}
	}
}

func (f *folder) segmentName(generation, n int) string {
	return filepath.Join(f.dir, fmt.Sprintf("%d-%d%s", generation, n, segmentEnd))
}

// begin makes the folder ready for a generation of its own, in which there is
// nothing.
func (f *folder) begin() error {
	f.closeSegment()
	f.state.Generation++
	f.next, f.total = 0, 0
	return os.MkdirAll(f.dir, 0o750)
}

// append writes frames behind all others.
func (f *folder) append(frames []byte) error {
	if f.segment == nil || f.size >= segmentSize {
		if err := f.openSegment(); err != nil {
			return err
		}
	}
	n, err := f.segment.Write(frames)
	f.size += n
	f.total += n
	return err
}

func (f *folder) openSegment() (err error) {
	f.closeSegment()
	f.segment, err = os.OpenFile(f.segmentName(f.state.Generation, f.next), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	f.size = 0
	f.next++
	return err
}

func (f *folder) closeSegment() {
	if f.segment != nil {
		_ = f.segment.Close()
		f.segment = nil
	}
}

// note writes how many bytes there are, after they were appended.
func (f *folder) note() (err error) {
	if f.written == nil {
		if f.written, err = os.OpenFile(filepath.Join(f.dir, writtenName), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(f.total))
	_, err = f.written.WriteAt(b[:], 0)
	return err
}

// say writes the state. It is on the disk when say returns: a state of before,
// that called itself clean, must not come back.
func (f *folder) say(clean bool, boot string) error {
	f.state.Clean, f.state.Boot = clean, boot
	raw, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	name := filepath.Join(f.dir, stateName)
	file, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncFolder(f.dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// rest removes the segments of other generations.
func (f *folder) rest() {
	own := fmt.Sprintf("%d-", f.state.Generation)
	list, _ := filepath.Glob(filepath.Join(f.dir, "*"+segmentEnd))
	for _, name := range list {
		if !strings.HasPrefix(filepath.Base(name), own) {
			_ = os.Remove(name) // else it lies there and counts for nothing
		}
	}
}

// clear removes everything. After an error something may be left that looks
// whole.
func (f *folder) clear() error {
	f.close()
	err := os.Remove(filepath.Join(f.dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(f.dir)
	}
	f.state.Generation = -1
	f.rest()
	f.state.Generation = 0
	return err
}

func (f *folder) close() {
	f.closeSegment()
	if f.written != nil {
		_ = f.written.Close()
		f.written = nil
	}
}
