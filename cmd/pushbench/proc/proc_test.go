package proc

import (
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTreeCountsDescendants(t *testing.T) {
	alone, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if alone.Processes != 1 || alone.PSS < 1<<20 {
		t.Fatalf("this test alone: %+v", alone)
	}
	child := exec.Command("sh", "-c", "cat; :")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = child.Wait() }()
	// An echoed byte means that the grandchild runs.
	if _, err := stdin.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	both, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if both.Processes != 3 {
		t.Fatalf("with child and grandchild: %+v", both)
	}
}

func TestTreeSeesMemoryAndWork(t *testing.T) {
	before, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held, err := unix.Mmap(-1, 0, 64<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	for began := ownWork(t); ownWork(t)-began < 100*time.Millisecond; {
	}
	after, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Munmap(held); err != nil {
		t.Error(err)
	}
	if grown := after.PSS - before.PSS; grown < 60<<20 || grown > 80<<20 {
		t.Errorf("64 MiB more are seen as %d bytes", grown)
	}
	if worked := after.CPU - before.CPU; worked < 50*time.Millisecond {
		t.Errorf("100 ms of work are seen as %v", worked)
	}
	if after.Switches == 0 {
		t.Error("no context switch was seen")
	}
}

// ownWork is the processor time that this process has got, which on a busy
// machine is not what the clock says.
func ownWork(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestTreeOfNoProcess(t *testing.T) {
	if s, err := Tree(1 << 30); err == nil {
		t.Fatalf("%+v", s)
	}
}

func TestKernel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if k, err := ReadKernel(); err != nil || k.Slab < 1<<20 || k.Available < 1<<20 || k.Sockets < 1 {
		t.Fatalf("%+v, %v", k, err)
	}
}

// A child that has worked and ended still counts.
func TestTreeRemembersTheDead(t *testing.T) {
	before, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// It works until the kernel has counted at least 50 ms for it.
	script := `while :; do read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ < /proc/$$/stat; [ $((user + system)) -ge 5 ] && exit; done`
	if err := exec.Command("sh", "-c", script).Run(); err != nil {
		t.Fatal(err)
	}
	after, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if worked := after.CPU - before.CPU; worked < 50*time.Millisecond {
		t.Errorf("50 ms of a child's work are seen as %v", worked)
	}
}
