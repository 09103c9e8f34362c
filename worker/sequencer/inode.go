package sequencer

import (
	"io/fs"
	"syscall"
)

// inode is the number of a file in its file system, which a copy of it has not.
func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
