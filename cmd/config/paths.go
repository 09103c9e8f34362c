package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// base is the folder that relative paths count from: the config file's, else
// the working directory.
func (r *reader) base() string {
	if r.file != "" {
		return filepath.Dir(r.file)
	}
	return ""
}

// abs makes a path of the file absolute; one from the environment counts from
// the working directory like any argument.
func (t *table) abs(key string, dst *string) {
	v, ok := t.get(key)
	t.str(key, dst)
	if strings.ContainsAny(*dst, "\n\x00") { // a key in PEM, which no error may repeat
		t.fail(v.at, "write the path of a file, not what is in it")
		*dst = ""
	}
	if !ok || *dst == "" || filepath.IsAbs(*dst) {
		return
	}
	path := *dst
	if !v.text {
		path = filepath.Join(t.base(), path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.fail(v.at, "%v", err)
		return
	}
	*dst = abs
}

// absListen makes the path of a unix address absolute: "unix://run/x.sock"
// counts from the config file's folder.
func (r *reader) absListen(addr string) string {
	path, ok := strings.CutPrefix(addr, "unix://")
	if !ok || path == "" || filepath.IsAbs(path) {
		return addr
	}
	abs, err := filepath.Abs(filepath.Join(r.base(), path))
	if err != nil {
		return addr
	}
	return "unix://" + abs
}

// RuntimeDirs are the folders in which a program of this name may have been
// started without naming one, the likeliest first.
func (s Source) RuntimeDirs() []string {
	var dirs []string
	add := func(dir string) {
		for _, d := range dirs {
			if d == dir {
				return
			}
		}
		dirs = append(dirs, dir)
	}
	system := s.Root + "/run/" + s.name()
	if dir := firstOf(s.env("RUNTIME_DIRECTORY")); dir != "" {
		add(dir)
	}
	if os.Geteuid() == 0 {
		add(system)
	}
	if dir := s.env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		add(filepath.Join(dir, s.name()))
	}
	if len(dirs) == 0 { // no session manager made a folder for this user
		add(filepath.Join(tempDir(), fmt.Sprintf("%s-%d", s.name(), os.Geteuid())))
	}
	add(system)
	return dirs
}

// dataDir is the default of data_dir. Where it cannot be made, as in a container
// that runs as an arbitrary user, it is a folder of the user in the temporary
// one; whoever opens that sees to it that it is the user's.
func (s Source) dataDir() (dir string, temporary bool) {
	if dir := firstOf(s.env("STATE_DIRECTORY")); dir != "" {
		return dir, false
	}
	if dir := s.stateDir(); dir != "" && canMake(dir) {
		return dir, false
	}
	return filepath.Join(tempDir(), fmt.Sprintf("%s-%d-data", s.name(), os.Geteuid())), true
}

// tempDir is the folder for temporary files. A relative one counts as none, like
// those of XDG: commands in other folders would not find the master.
func tempDir() string {
	if dir := os.TempDir(); filepath.IsAbs(dir) {
		return dir
	}
	return "/tmp"
}

// stateDir is where programs of this user keep their data, "" if nothing says so.
func (s Source) stateDir() string {
	if os.Geteuid() == 0 {
		return s.Root + "/var/lib/" + s.name()
	}
	if dir := s.env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, s.name())
	}
	if home := s.env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local/state", s.name())
	}
	return ""
}

// canMake says whether this process may write to dir, or make it.
func canMake(dir string) bool {
	for {
		err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return err == nil
		}
		dir = filepath.Dir(dir)
	}
}

// firstOf returns the first of the folders that systemd lists.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ":")
	if !filepath.IsAbs(first) {
		return ""
	}
	return first
}
