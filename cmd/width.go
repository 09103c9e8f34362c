package cmd

import (
	"io"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// defaultWidth is used where nothing tells the width of the screen.
const defaultWidth = 100

// screenWidth returns how many characters fit on a line.
func screenWidth(w io.Writer) int {
	if f, ok := fileOf(w); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return defaultWidth
}

// currentUser is the user of this process, by name where it has one.
func currentUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
