package master

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Folder is a directory that no stranger could have put in the way, or put
// anything into. It is open, so that what is done in it happens there, wherever
// its path leads by then. Symbolic links in it are not followed.
type Folder struct {
	path  string
	file  *os.File // O_PATH; nil = of no use
	owner uint32
	group uint32
}

// OpenFolder opens a directory of this process's user, of root, or of one of the
// users named; path may be a symbolic link, if that belongs to one of them too.
// An error that wraps fs.ErrNotExist says that there is none.
func OpenFolder(path string, owners ...int) (*Folder, error) {
	return openFolder(path, append(owners, 0, os.Geteuid()), false)
}

// OpenShared is OpenFolder for those who only talk to a master: as root, or as
// a member of a group, one controls the master of another user too. Such a
// folder counts where nobody but root can put one.
func OpenShared(path string, owners ...int) (*Folder, error) {
	return openFolder(path, append(owners, 0, os.Geteuid()), true)
}

func openFolder(path string, owners []int, shared bool) (*Folder, error) {
	f, info, err := openTrusted(path, owners, shared)
	if err != nil {
		return nil, err
	}
	if info.Mode&0o002 != 0 {
		f.Close()
		return nil, fmt.Errorf("%s can be written to by everybody: chmod o-w it, or choose another folder", path)
	}
	return &Folder{path: path, file: f, owner: info.Uid, group: info.Gid}, nil
}

// linksMax bounds a chain of symbolic links.
const linksMax = 8

// openTrusted follows links as far as they belong to one of owners.
func openTrusted(path string, owners []int, shared bool) (*os.File, *syscall.Stat_t, error) {
	for range linksMax {
		f, info, err := openAt(nil, path)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(owners, int(info.Uid)) && !(shared && rootsPlace(path)) {
			f.Close()
			return nil, nil, fmt.Errorf("%s belongs to user %d: choose another folder, or let root chown it", path, info.Uid)
		}
		switch info.Mode & syscall.S_IFMT {
		case syscall.S_IFDIR:
			return f, info, nil
		case syscall.S_IFLNK:
			target, err := readLink(f)
			f.Close()
			if err != nil {
				return nil, nil, err
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(path), target)
			}
			path = target
		default:
			f.Close()
			return nil, nil, &fs.PathError{Op: "open folder", Path: path, Err: syscall.ENOTDIR}
		}
	}
	return nil, nil, &fs.PathError{Op: "open folder", Path: path, Err: syscall.ELOOP}
}

// rootsPlace says whether root alone decides what path leads to.
func rootsPlace(path string) bool {
	for path = filepath.Clean(path); path != filepath.Dir(path); {
		path = filepath.Dir(path)
		var dir syscall.Stat_t
		if err := syscall.Stat(path, &dir); err != nil || dir.Uid != 0 || dir.Mode&0o022 != 0 {
			return false
		}
	}
	return true
}

// CheckFolder says whether a start could use path: as OpenFolder, and one that
// does not exist is no error.
func CheckFolder(path string) error {
	f, err := OpenFolder(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("runtime_dir: %w", err)
	}
	f.Close()
	return nil
}

// makeFolder makes the folder if there is none, and opens it.
func makeFolder(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("create runtime_dir: %w (runtime_dir, --runtime-dir or PUSHD_RUNTIME_DIR names another; or run as a user who may)", err)
	}
	f, err := OpenFolder(path)
	if err != nil {
		return nil, fmt.Errorf("runtime_dir: %w", err)
	}
	return f, nil
}

// Close lets go of the folder.
func (d *Folder) Close() {
	if d.file != nil {
		d.file.Close()
	}
}

// Owns says whether the owner of the folder, this process's user or root has
// what info describes.
func (d *Folder) Owns(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == d.owner || st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// Owner is whom the folder belongs to.
func (d *Folder) Owner() int { return int(d.owner) }

// Open opens a file of the folder for reading.
func (d *Folder) Open(name string) (*os.File, error) { return d.OpenFile(name, os.O_RDONLY, 0) }

// read returns what a file of the folder holds, up to max bytes.
func (d *Folder) read(name string, max int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, max))
}

// write puts data into a file, whole or not at all.
func (d *Folder) write(name string, data []byte, perm os.FileMode) error {
	temp := name + ".new"
	f, err := d.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.rename(temp, name)
	}
	return err
}

// Create puts data into a file that is not there yet, whole or not at all. The
// error wraps fs.ErrExist if it is there.
func (d *Folder) Create(name string, data []byte, perm os.FileMode) error {
	temp := "." + name + "-" + strconv.FormatUint(rand.Uint64(), 36)
	f, err := d.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer func() { _ = d.Remove(temp) }()
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.link(temp, name)
	}
	return err
}

// failed is err, of an attempt at a name in the folder by way of Place, with the
// path by which people know it.
func (d *Folder) failed(op, name string, err error) error {
	var why syscall.Errno
	if !errors.As(err, &why) {
		return err
	}
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: why}
}
