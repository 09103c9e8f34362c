package memory

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestForgettable: only what is in its file, and in nobody's head, is forgotten.
func TestForgettable(t *testing.T) {
	const smaps = `00400000-00401000 r-xp 00000000 08:01 5 /usr/bin/pushd
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00401000-00402000 r--p 00001000 08:01 5 /usr/bin/pushd (deleted)
Anonymous:             0 kB
00402000-00403000 r--p 00002000 08:01 5 /usr/lib/linked.so
Anonymous:             4 kB
00403000-00404000 rw-p 00003000 08:01 5 /usr/bin/pushd
Anonymous:             0 kB
00404000-00405000 r--s 00000000 08:01 6 /run/shared
Anonymous:             0 kB
00405000-00406000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffe0000-7ffe1000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
zz-00406000 r-xp 00000000 08:01 5 /usr/bin/pushd
Anonymous:             0 kB
00407000-00408000 r-xp 00000000 08:01 5 /usr/bin/pushd
`
	got := unchanged(strings.NewReader(smaps))
	if len(got) != 2 || got[0] != (mapping{0x400000, 0x401000}) || got[1] != (mapping{0x401000, 0x402000}) {
		t.Errorf("forgettable are %x", got)
	}
}

// TestForgetsProgram: a page of a file that was read is gone from the process, and
// comes back as it was; one that the process has changed stays.
func TestForgetsProgram(t *testing.T) {
	size := os.Getpagesize()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 4*size), 0o600); err != nil {
		t.Fatal(err)
	}
	read, changed := mapFile(t, file, unix.PROT_READ), mapFile(t, file, unix.PROT_READ|unix.PROT_WRITE)
	changed[size] = 'y'
	if err := unix.Mprotect(changed, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(read); i += size {
		if read[i] != 'x' {
			t.Fatal("the file is not what was written")
		}
	}
	if n := resident(t, read); n == 0 {
		t.Fatal("the file was read, and nothing of it is there")
	}
	forgetProgram()
	if n := resident(t, read); n != 0 {
		t.Errorf("%d KiB of the file are still there", n)
	}
	if read[size] != 'x' || changed[size] != 'y' || changed[0] != 'x' {
		t.Errorf("%q of the file, %q of the changed page, %q beside it", read[size], changed[size], changed[0])
	}
}

func mapFile(t *testing.T, file string, prot int) []byte {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 4*os.Getpagesize(), prot, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

// resident returns how many KiB of a mapping are in this process.
func resident(t *testing.T, b []byte) (kib int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), fmt.Sprintf("\n%x-", uintptr(unsafe.Pointer(&b[0]))))
	if !found {
		t.Fatal("the mapping is not in /proc/self/smaps")
	}
	_, rest, _ = strings.Cut(rest, "\nRss:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
