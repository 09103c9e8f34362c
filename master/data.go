package master

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// DataPlan is what the broker process keeps on disk. The master gives it to the
// user that the process runs as.
type DataPlan struct {
	Dir   string   `json:"dir"`
	Files []string `json:"files"` // files and folders in Dir; those of a name made of one of these are meant too
}

// entrust gives the broker process's files to its user. The process before it
// may have been root's or that of former, and so is what it has left, to the
// last moment of its life. Only root can, and only what pushd itself keeps is
// given away.
func (u *unit) entrust(former *syscall.Credential) error {
	if u.data == nil || os.Geteuid() != 0 || u.cred == nil && former == nil {
		return nil
	}
	uid, gid := ownerOf(u.cred)
	before, _ := ownerOf(former)
	if err := u.data.make(); err != nil {
		return err
	}
	dir, names, err := u.data.open(uid, before)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	defer dir.Close()
	for _, name := range names {
		if !u.data.keeps(name) {
			continue
		}
		if err := dir.give(name, uid, gid); err != nil {
			return fmt.Errorf("give data_dir to user %d: %w", uid, err)
		}
	}
	if err := os.Chown(dir.Place("."), uid, gid); err != nil {
		return fmt.Errorf("give data_dir to user %d: %w", uid, dir.failed("chown", ".", err))
	}
	return nil
}

// make makes the folder, and those above it so that another user gets through.
func (d *DataPlan) make() error {
	err := os.MkdirAll(filepath.Dir(d.Dir), 0o755)
	if err == nil {
		err = os.MkdirAll(d.Dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("create data_dir: %w (data_dir, or PUSHD_DATA_DIR in the environment, names another)", err)
	}
	return nil
}

// open opens the folder and lists it, if it can be given to the user uid: it is
// root's, this process's, his or before's, and holds nothing else.
func (d *DataPlan) open(uid, before int) (dir *Folder, names []string, err error) {
	if dir, err = OpenFolder(d.Dir, uid, before); err != nil {
		return nil, nil, err
	}
	if names, err = dir.names(); err == nil && int(dir.owner) != uid {
		for _, name := range names {
			if name != "lost+found" && !d.keeps(name) {
				err = fmt.Errorf("%s holds %s, which is not pushd's, and is to belong to user %d: give data_dir a folder of its own", d.Dir, name, uid)
				break
			}
		}
	}
	if err != nil {
		dir.Close()
		return nil, nil, err
	}
	return dir, names, nil
}

// entrustable says why the broker process could not have its folder: entrust would
// fail, or its user has no way there.
func (b *BrokerPlan) entrustable() error {
	cred, err := credentialOf(b.User, b.Group)
	if err != nil || b.Data == nil || cred == nil {
		return nil // the user is judged elsewhere
	}
	dir, _, err := b.Data.open(int(cred.Uid), os.Geteuid())
	if err == nil {
		dir.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = asUser(cred, func() error { _, err := os.Stat(b.Data.Dir); return err })
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("user %s may not enter a folder above %s: chmod o+x it, or choose another data_dir", b.User, b.Data.Dir)
	}
	return nil
}

// ownerOf returns the user and group that a process with c has.
func ownerOf(c *syscall.Credential) (uid, gid int) {
	if c == nil {
		return os.Geteuid(), os.Getegid()
	}
	return int(c.Uid), int(c.Gid)
}

// keeps says whether name is that of one of the files, or of what is written on
// the way to one.
func (d *DataPlan) keeps(name string) bool {
	return slices.ContainsFunc(d.Files, func(f string) bool { return strings.HasPrefix(strings.TrimPrefix(name, "."), f) })
}

// names lists the folder.
func (d *Folder) names() ([]string, error) {
	f, err := os.Open(d.Place("."))
	if err != nil {
		return nil, d.failed("open", ".", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, d.failed("list", ".", err)
	}
	return names, nil
}

// give makes a file, or a folder with the files in it, that user's. What is
// neither, or has a second name somewhere, is left alone: it may be a link that
// somebody has laid to what is not ours.
func (d *Folder) give(name string, uid, gid int) error {
	f, info, err := openAt(d.file, name)
	if errors.Is(err, fs.ErrNotExist) { // e.g. a file on its way to another name
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	inside := &Folder{path: d.path + "/" + name, file: f}
	switch kind := info.Mode & syscall.S_IFMT; {
	case kind == syscall.S_IFDIR:
		names, err := inside.names()
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := inside.give(n, uid, gid); err != nil {
				return err
			}
		}
	case kind != syscall.S_IFREG || info.Nlink != 1:
		return nil
	}
	if int(info.Uid) == uid && int(info.Gid) == gid {
		return nil
	}
	if err := os.Chown(procFD(inside.fd()), uid, gid); err != nil {
		return d.failed("chown", name, err)
	}
	return nil
}
