package sequencer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pushd/pushd/worker/history"
)

// A folder holds what is kept of channels between two processes: segments of
// frames, written one behind the other, and a state that says what belongs to
// it. Nothing is synced while messages are numbered, so it outlives a process
// but not a machine that ends in an unorderly way; that is known by the boot id.
// What was cut off or changed is known by sums, and by the bytes that were
// written; a copy, which somebody else may have gone on with, by the inode. In
// all of these cases the history begins anew, with new epochs.
//
//	state       JSON, replaced as a whole
//	written     bytes in the newest generation and its number, 8 each,
//	            overwritten with each append
//	G-N.segment
//
// A generation that has all is complete. Until the newest is, those before it
// count too.
type folder struct {
	dir     string
	state   folderState
	segment *os.File // that is appended to; nil = the next append opens one
	written *os.File
	size    int      // of segment
	next    int      // number of the next segment
	bytes   int      // in the newest generation
	wrote   uint64   // bytes, by this process
	old     []string // segments that count for nothing any more
	busy    func()   // service.Env.Busy
}

// folderState is the file state.
type folderState struct {
	Generation int          `json:"generation"`       // the newest, which is written
	Before     []generation `json:"before,omitempty"` // that count too
	Boot       string       `json:"boot"`             // of the machine, when it was written
	Clean      bool         `json:"clean"`            // nothing was numbered that is not here
	Inode      uint64       `json:"inode,omitempty"`  // of the file written
	// Rules says by app which of its channels have had a history since the oldest
	// generation that counts: of others messages may have come that have no number.
	Rules map[string]string `json:"rules,omitempty"`
}

// generation is one that is not written to any more.
type generation struct {
	Number int `json:"number"`
	Bytes  int `json:"bytes"`
}

// The names of the folder, below data_dir, and of what is in it.
const (
	folderName  = "history"
	stateName   = "state"
	writtenName = "written"
	segmentEnd  = ".segment"
	segmentSize = 1 << 20
)

// Why what is in a folder is not gone on with.
var (
	errNotWhole = errors.New("something of it is missing or was changed")
	errCopy     = errors.New("it is a copy: the one that it was made of may have been gone on with")
	errMachine  = errors.New("the machine has ended in an unorderly way")
)

// bootID names the time since the machine was started.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // unlike every other
	}
	return strings.TrimSpace(string(raw))
}

// load reads what another process has left into an empty store, and reports
// whether something that was purged is in the segments. With fs.ErrNotExist there
// is nothing. After any other error the store is not to be used.
func (f *folder) load(s *history.Store, boot string) (purged bool, err error) {
	raw, err := os.ReadFile(filepath.Join(f.dir, stateName))
	if err == nil {
		err = json.Unmarshal(raw, &f.state)
	}
	if err != nil {
		return false, err
	}
	if !f.state.Clean && (boot == "" || f.state.Boot != boot) {
		return false, errMachine
	}
	need, err := f.needs()
	if err != nil {
		return false, err
	}
	l := history.NewLoader(s)
	for _, g := range append(slices.Clone(f.state.Before), need) {
		if f.next, f.bytes, err = f.loadGeneration(l, g.Number); err == nil && f.bytes < g.Bytes {
			err = errNotWhole
		}
		if err != nil {
			return false, err
		}
	}
	return l.Done(), nil
}

// needs reads how many bytes the newest generation must have.
func (f *folder) needs() (g generation, err error) {
	name := filepath.Join(f.dir, writtenName)
	info, err := os.Stat(name)
	if err != nil {
		return g, errors.Join(errNotWhole, err)
	}
	if f.state.Inode != 0 && inode(info) != f.state.Inode {
		return g, errCopy
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return g, err
	}
	g.Number = f.state.Generation
	switch len(raw) {
	case 8: // as it was before there were two generations at a time
		g.Bytes = int(binary.BigEndian.Uint64(raw))
	case 16:
		if int(binary.BigEndian.Uint64(raw[8:])) == g.Number { // else nothing was written to it yet
			g.Bytes = int(binary.BigEndian.Uint64(raw))
		}
	default:
		err = errNotWhole
	}
	return g, err
}

// loadGeneration reads the segments of one in order. Behind the last whole frame
// there may be a part of one, if the process was killed while it wrote it; what it
// would have said was said to nobody.
func (f *folder) loadGeneration(l *history.Loader, number int) (next, bytes int, err error) {
	for ; ; next++ {
		name := f.segmentName(number, next)
		raw, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return next, bytes, nil
		}
		if err != nil {
			return 0, 0, err
		}
		n := l.Frames(raw)
		bytes += n
		f.busy()
		if n < len(raw) {
			if err := os.Truncate(name, int64(n)); err != nil {
				return 0, 0, err
			}
		}
	}
}

func (f *folder) segmentName(generation, n int) string {
	return filepath.Join(f.dir, fmt.Sprintf("%d-%d%s", generation, n, segmentEnd))
}

// total is the bytes in all generations that count.
func (f *folder) total() int {
	n := f.bytes
	for _, g := range f.state.Before {
		n += g.Bytes
	}
	return n
}

// begin makes the folder ready for a generation in which there is nothing. Those
// before it still count, as say will say.
func (f *folder) begin() error {
	f.closeSegment()
	if err := os.MkdirAll(f.dir, 0o750); err != nil {
		return err
	}
	if f.bytes > 0 {
		f.state.Before = append(f.state.Before, generation{f.state.Generation, f.bytes})
	}
	for _, name := range f.segments(func(int) bool { return true }) {
		f.state.Generation = max(f.state.Generation, number(name))
	}
	f.state.Generation++
	f.next, f.bytes = 0, 0
	return nil
}

// complete makes the newest generation the only one that counts, as say will say.
func (f *folder) complete(rules map[string]string) {
	f.state.Before, f.state.Rules = nil, maps.Clone(rules)
	f.sort()
}

// sort finds the segments that count for nothing.
func (f *folder) sort() {
	f.old = f.segments(func(n int) bool {
		return n != f.state.Generation && !slices.ContainsFunc(f.state.Before, func(g generation) bool { return g.Number == n })
	})
}

// append writes frames behind all others, and how many bytes there are then.
func (f *folder) append(frames []byte) error {
	if f.segment == nil || f.size >= segmentSize {
		if err := f.openSegment(); err != nil {
			return err
		}
	}
	n, err := f.segment.Write(frames)
	f.size += n
	f.bytes += n
	f.wrote += uint64(n)
	if err != nil {
		return err
	}
	return f.note()
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

// note writes how many bytes there are.
func (f *folder) note() (err error) {
	if f.written == nil {
		if f.written, err = os.OpenFile(filepath.Join(f.dir, writtenName), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		info, err := f.written.Stat()
		if err != nil {
			return err
		}
		f.state.Inode = inode(info)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(f.bytes))
	binary.BigEndian.PutUint64(b[8:], uint64(f.state.Generation))
	_, err = f.written.WriteAt(b[:], 0)
	return err
}

// say writes the state. With sync it is on the disk when say returns: a state of
// before, that called itself clean, must not come back.
func (f *folder) say(clean bool, boot string, sync bool) error {
	f.state.Clean, f.state.Boot = clean, boot
	raw, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(f.dir, stateName), raw, sync)
}

// replaceFile writes a file beside the one that it replaces. With sync it is on the
// disk when replaceFile returns.
func replaceFile(name string, raw []byte, sync bool) error {
	file, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err == nil && sync {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil || !sync {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// segments lists those of the generations that fit says.
func (f *folder) segments(fit func(generation int) bool) []string {
	list, _ := filepath.Glob(filepath.Join(f.dir, "*"+segmentEnd))
	return slices.DeleteFunc(list, func(name string) bool { return !fit(number(name)) })
}

// number returns the generation of a segment, by its name.
func number(name string) (n int) {
	_, _ = fmt.Sscanf(filepath.Base(name), "%d-", &n)
	return n
}

// tidy removes up to n segments that count for nothing, and reports whether there
// are more.
func (f *folder) tidy(n int) bool {
	n = min(n, len(f.old))
	for _, name := range f.old[:n] {
		_ = os.Remove(name) // else it lies there and counts for nothing
	}
	f.old = f.old[n:]
	return len(f.old) > 0
}

// clear makes all that is there count for nothing. After an error something may
// be left that looks whole.
func (f *folder) clear() error {
	f.close()
	err := os.Remove(filepath.Join(f.dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	} else if err == nil {
		err = syncFolder(f.dir)
	}
	f.state.Before, f.bytes = nil, 0
	f.old = f.segments(func(int) bool { return true })
	return err
}

func (f *folder) close() {
	f.closeSegment()
	if f.written != nil {
		_ = f.written.Close()
		f.written = nil
	}
}
