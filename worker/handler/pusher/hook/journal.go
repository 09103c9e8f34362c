package hook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// entry is a line of a journal: it says what happened to the endpoint's queue,
// so that reading all lines leaves the queue as it was. Exactly one of the
// fields other than At is set.
type entry struct {
	Event *Event `json:"event,omitempty"` // joined the queue's end
	At    int64  `json:"at,omitempty"`    // when Event or Hold came; milliseconds

	Hold  *Event `json:"hold,omitempty"`  // waits, it may be taken back
	Ready *Event `json:"ready,omitempty"` // the held one of this subject joined the queue's end
	Back  *Event `json:"back,omitempty"`  // the held one of this subject was taken back, or is not wanted

	Done int `json:"done,omitempty"` // so many left the queue's front
}

// journal is a file of entries, a line of JSON each. Only what the kernel has
// taken counts as kept: it survives the process, not a power failure.
type journal struct {
	path   string
	f      *os.File
	size   int64        // bytes of whole entries in f
	base   int64        // size after the last rewrite; 0 = none yet
	buf    bytes.Buffer // entries that are not yet in f
	broken bool         // a write failed: f is out of date until rewrite succeeds
}

// openJournal opens or makes the file and replays it. A line that was cut off
// when its process was killed is removed; lines that are damaged are skipped
// and counted.
func openJournal(path string, replay func(*entry)) (j *journal, damaged int, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, err // names the path
	}
	j = &journal{path: path, f: f}
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		j.size += int64(len(line))
		var e entry
		if json.Unmarshal(line, &e) != nil {
			damaged++
			continue
		}
		replay(&e)
	}
	if err := j.cut(); err != nil {
		f.Close()
		return nil, 0, err
	}
	return j, damaged, nil
}

// add puts an entry into the buffer.
func (j *journal) add(e entry) {
	if j.broken {
		return // rewrite will know
	}
	j.buf.Write(encode(&e))
	j.buf.WriteByte('\n')
}

// flush writes the buffer. After an error the file ends with an earlier whole
// entry, and the journal is broken.
func (j *journal) flush() error {
	if j.buf.Len() == 0 {
		return nil
	}
	n, err := j.f.Write(j.buf.Bytes())
	j.buf.Reset()
	if err != nil {
		j.broken = true
		return errors.Join(err, j.cut())
	}
	j.size += int64(n)
	return nil
}

// long reports whether it is worth a rewrite: when that makes it empty, or it
// has doubled since the last one: then a rewrite costs at most twice what was
// added meanwhile, however much waits.
func (j *journal) long(empty bool) bool {
	return j.size > compactAt && (empty || j.size > 2*j.base)
}

// cut removes what stands behind the last whole entry, and writes go there.
func (j *journal) cut() error {
	if err := j.f.Truncate(j.size); err != nil {
		return err
	}
	_, err := j.f.Seek(j.size, io.SeekStart)
	return err
}

// rewrite replaces the file by one that holds these entries only, and mends a
// broken journal. If it fails, the old file stays.
func (j *journal) rewrite(entries []entry) error {
	fresh, err := os.OpenFile(j.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	next := journal{path: j.path, f: fresh}
	for _, e := range entries {
		next.add(e)
	}
	err = next.flush()
	if err == nil {
		err = fresh.Sync()
	}
	if err == nil {
		err = os.Rename(fresh.Name(), j.path)
	}
	if err != nil {
		fresh.Close()
		return errors.Join(err, os.Remove(fresh.Name()))
	}
	j.f.Close()
	next.base = next.size
	*j = next
	return nil
}

func (j *journal) close() error {
	if j.f == nil {
		return nil // it was never opened
	}
	return errors.Join(j.flush(), j.f.Sync(), j.f.Close())
}

// sweep removes the journals in dir that are not in use, and returns their
// names.
func sweep(dir string, used map[string]bool) (removed []string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*.journal*"))
	for _, name := range names {
		if !used[name] && os.Remove(name) == nil {
			removed = append(removed, name)
		}
	}
	return removed
}
