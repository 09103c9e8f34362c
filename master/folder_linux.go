package master

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openAt opens a place, a symbolic link as such; dir nil is the working
// directory.
func openAt(dir *os.File, name string) (*os.File, *syscall.Stat_t, error) {
	at := unix.AT_FDCWD
	if dir != nil {
		at = int(dir.Fd())
	}
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	info := new(syscall.Stat_t)
	if err := syscall.Fstat(fd, info); err != nil {
		unix.Close(fd)
		return nil, nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), info, nil
}

// readLink returns where a symbolic link that openAt has opened leads.
func readLink(f *os.File) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return string(buf[:n]), nil
}

// OpenFile is os.OpenFile for a name in the folder. A symbolic link is an error,
// and so is what is no regular file.
func (d *Folder) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	path := filepath.Join(d.path, name)
	fd, err := unix.Openat(d.fd(), name, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, uint32(perm.Perm()))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var info unix.Stat_t
	if err = unix.Fstat(fd, &info); err == nil && info.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.EINVAL // no regular file
	}
	if err == nil {
		err = unix.SetNonblock(fd, false) // it was for FIFOs that somebody has left there
	}
	if err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Place returns a path that leads to a name in the folder for as long as the
// folder is open, however long its own path is. What fails there is told by the
// latter (failed).
func (d *Folder) Place(name string) string { return filepath.Join(procFD(d.fd()), name) }

// socket opens a name in the folder as a place, which must be a socket.
func (d *Folder) socket(name string) (fd int, err error) {
	f, info, err := openAt(d.file, name)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if info.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return -1, &fs.PathError{Op: "open socket", Path: filepath.Join(d.path, name), Err: unix.ENOTSOCK}
	}
	return dupAbove(int(f.Fd()), 3)
}

// Remove removes a file of the folder.
func (d *Folder) Remove(name string) error {
	if err := unix.Unlinkat(d.fd(), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: filepath.Join(d.path, name), Err: err}
	}
	return nil
}

func (d *Folder) rename(from, to string) error {
	if err := unix.Renameat(d.fd(), from, d.fd(), to); err != nil {
		return &fs.PathError{Op: "rename", Path: filepath.Join(d.path, from), Err: err}
	}
	return nil
}

// link gives a file a second name, which is not there yet.
func (d *Folder) link(from, to string) error {
	if err := unix.Linkat(d.fd(), from, d.fd(), to, 0); err != nil {
		return &fs.PathError{Op: "make", Path: filepath.Join(d.path, to), Err: err}
	}
	return nil
}

// fd is -1 for a folder of no use.
func (d *Folder) fd() int {
	if d.file == nil {
		return -1
	}
	return int(d.file.Fd())
}

// openFor sets the mode of a socket in the folder.
func (d *Folder) openFor(name string, mode os.FileMode) error {
	fd, err := d.socket(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := os.Chmod(procFD(fd), mode); err != nil {
		return d.failed("chmod", name, err)
	}
	return nil
}
