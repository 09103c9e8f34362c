package master

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/pushd/pushd/protocol/certs"
	"github.com/pushd/pushd/protocol/control"
)

// The master reads certificates and keys for its children, which may have no
// right to the files, and keeps what it has read in sealed files in memory. All
// processes inherit those, also one that is started again days later: it gets
// the pair that the others serve, never half of a new one. Files that change are
// read again (renew.go), and what is worse than what there is is not taken.

// hold is a Copy as it was read. Its file never changes and is never closed, since
// messages under way may hold it: the garbage collector does that.
type hold struct {
	Copy
	file   *os.File
	stamps []stamp // of Files
	day    int64   // of ticket keys: on which they are the current ones

	filler bool      // what stands in for a pair that is not there yet
	names  []string  // of a pair
	from   time.Time // of a pair: its beginning
	until  time.Time // of a pair: its end

	// Of the loop.
	failed string    // why what is in Files now is not taken; "" = it is
	told   bool      // that it is not
	warned time.Time // when its end was last warned of
}

// stamp tells whether a file is as it was.
type stamp struct {
	Dev, Ino     uint64
	Size         int64
	MTime, CTime int64 // ns
}

func stampOf(info os.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{uint64(st.Dev), st.Ino, st.Size, info.ModTime().UnixNano(), changed(st)}
}

// look returns the stamps of files as they are now; a file that is missing has
// none like it.
func look(files []string) []stamp {
	list := make([]stamp, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			list[i] = stampOf(info)
		}
	}
	return list
}

// ticketDay is the day of ticket keys at t.
func ticketDay(t time.Time) int64 { return t.Unix() / certs.TicketDay }

// readCopy reads c. old is the one before, nil = none; what has not changed is
// shared with it.
func readCopy(c Copy, old *hold, now time.Time) (*hold, error) {
	if old != nil && !slices.Equal(old.Files, c.Files) {
		old = nil
	}
	h := &hold{Copy: c}
	files := make([][]byte, len(c.Files))
	for i, path := range c.Files {
		data, s, err := readFile(path, c.Kind != certs.KindRoots && i == len(c.Files)-1)
		if c.Optional && errors.Is(err, os.ErrNotExist) {
			return standIn(c, old)
		}
		if err != nil {
			return nil, err
		}
		defer clear(data)
		files[i], h.stamps = data, append(h.stamps, s)
	}
	data, err := h.make(files, old, now)
	if err != nil {
		if len(c.Files) > 0 {
			err = fmt.Errorf("%s: %w", c.Files[0], err)
		}
		return nil, err
	}
	defer clear(data)
	if old != nil && bytes.Equal(data, contentOf(old.file)) {
		h.file = old.file
		return h, nil
	}
	h.file, err = newSealed("pushd-copy", data)
	return h, err
}

// standIn is a copy of what is not there yet.
func standIn(c Copy, old *hold) (h *hold, err error) {
	if old != nil && old.filler {
		return old, nil
	}
	h = &hold{Copy: c, stamps: make([]stamp, len(c.Files)), filler: true}
	var data []byte
	if c.Kind == certs.KindPair {
		if data, err = certs.Placeholder(); err != nil {
			return nil, err
		}
	}
	h.file, err = newSealed("pushd-copy", data)
	return h, err
}

// make checks what was read and puts it into one piece.
func (h *hold) make(files [][]byte, old *hold, now time.Time) ([]byte, error) {
	switch h.Kind {
	case certs.KindPair:
		p, err := certs.ParsePair(files[0], files[1])
		if err != nil {
			return nil, err
		}
		h.names, h.from, h.until = p.Names(), p.Leaf.NotBefore, p.Leaf.NotAfter
		return p.Encode()
	case certs.KindChallenge:
		p, err := certs.ParsePair(files[0], files[0])
		if err != nil {
			return nil, err
		}
		return p.Encode()
	case certs.KindRoots:
		_, err := certs.ParseRoots(files[0])
		return bytes.Clone(files[0]), err
	}
	h.day = ticketDay(now)
	if len(files) == 1 {
		secret := bytes.TrimRight(files[0], "\r\n")
		if len(secret) < certs.MinTicketSecret {
			return nil, fmt.Errorf("a ticket secret has at least %d bytes, this one has %d: openssl rand -base64 48 makes one", certs.MinTicketSecret, len(secret))
		}
		return certs.DeriveTickets(secret, h.day)
	}
	if old == nil {
		return certs.NewTickets(), nil
	}
	keys := contentOf(old.file)
	for range min(max(h.day-old.day, 0), 3) {
		keys = certs.NextTickets(keys)
	}
	return keys, nil
}

// readFile reads a file whole, if nobody could have written it, or read it if it
// is secret, who should not.
func readFile(path string, secret bool) ([]byte, stamp, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrPermission) {
		return nil, stamp{}, fmt.Errorf("%w: user %d may not read it, as whom this runs", err, os.Geteuid())
	}
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, stamp{}, fmt.Errorf("%s is no file", path)
	case mode.Perm()&0o002 != 0:
		return nil, stamp{}, fmt.Errorf("%s can be written by everybody (mode %04o): chmod o-w it", path, mode.Perm())
	case secret && mode.Perm()&0o004 != 0:
		return nil, stamp{}, fmt.Errorf("%s can be read by everybody (mode %04o): chmod o= it, and make a new key if others may have seen this one", path, mode.Perm())
	case info.Size() > control.CopyMax/2:
		return nil, stamp{}, fmt.Errorf("%s has %d bytes, which is more than any certificate or key: at most %d", path, info.Size(), control.CopyMax/2)
	}
	data, err := io.ReadAll(io.LimitReader(f, control.CopyMax/2))
	return data, stampOf(info), err
}

// contentOf reads a sealed file.
func contentOf(f *os.File) []byte {
	data, _ := io.ReadAll(io.NewSectionReader(f, 0, control.CopyMax)) // memory
	return data
}

// good says whether clients take the certificate at that time.
func (h *hold) good(now time.Time) bool {
	return h.Kind == certs.KindPair && !h.filler && !h.from.After(now) && h.until.After(now)
}

// successor reads c anew. Of a certificate that clients take none takes the place
// that they do not: that is old, nil = none.
func successor(c Copy, old *hold, now time.Time) (*hold, error) {
	fresh, err := readCopy(c, old, now)
	if err == nil && old != nil && old.good(now) && slices.Equal(old.Files, c.Files) && !fresh.filler && !fresh.good(now) {
		return nil, fmt.Errorf("%s: %s", c.Files[0], certs.Validity(fresh.from, fresh.until, now))
	}
	return fresh, err
}

// readCopies reads all that a plan names. held is what there is already.
func (p *Plan) readCopies(held map[string]*hold, now time.Time) (map[string]*hold, error) {
	all := map[string]*hold{}
	for _, c := range p.Copies {
		h, err := successor(c, held[c.Name], now)
		if err != nil {
			return nil, err
		}
		all[c.Name] = h
	}
	return all, nil
}

// CheckCopies reads what the plan keeps copies of and says what keeps it from
// being carried out, and what clients will object to. Subjects are names of
// copies.
func CheckCopies(p *Plan) (obstacles, notes []Obstacle) {
	now := time.Now()
	for _, c := range p.Copies {
		h, err := readCopy(c, nil, now)
		if err != nil {
			obstacles = append(obstacles, Obstacle{c.Name, err})
			continue
		}
		for _, n := range h.notes(now) {
			notes = append(notes, Obstacle{c.Name, fmt.Errorf("%s: %s", c.Files[0], n)})
		}
		h.file.Close()
	}
	return obstacles, notes
}

// notes say what clients will object to.
func (h *hold) notes(now time.Time) []string {
	data := contentOf(h.file)
	defer clear(data)
	switch {
	case h.Kind == certs.KindRoots:
		return certs.RootNotes(data, now)
	case h.Kind == certs.KindPair && !h.filler:
		if pair, err := certs.ParsePair(data, data); err == nil {
			return pair.Notes(now)
		}
	}
	return nil
}
