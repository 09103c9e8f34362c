package memory

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// forgetProgram lets go of the pages of files that this process has read so far:
// most are of its program, and were for its start. They stay in the system's cache
// of the file, where what runs on finds them again without a disk.
func forgetProgram() {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range unchanged(f) {
		_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses that is of a file.
type mapping struct{ from, to uintptr }

// unchanged returns the mappings of a list like /proc/PID/smaps that say what is in
// their files: nobody may write to them, and nobody has. What a linker has put into
// others would be lost.
func unchanged(smaps io.Reader) (all []mapping) {
	var m mapping
	readOnly := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		switch f := strings.Fields(lines.Text()); {
		case len(f) > 1 && f[0] == "Anonymous:":
			if readOnly && f[1] == "0" {
				all = append(all, m)
			}
		case len(f) >= 5 && !strings.HasSuffix(f[0], ":"):
			m, readOnly = parseMapping(f)
		}
	}
	return all
}

// parseMapping reads the fields of the line that a mapping begins with.
func parseMapping(f []string) (m mapping, readOnly bool) {
	from, to, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(from, 16, 64)
	b, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil || len(f) < 6 || f[5][0] != '/' {
		return m, false
	}
	return mapping{uintptr(a), uintptr(b)}, f[1] == "r--p" || f[1] == "r-xp"
}
