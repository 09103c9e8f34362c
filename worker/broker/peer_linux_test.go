package broker

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

func TestClientThroughADescriptor(t *testing.T) {
	b := newBus(t)
	b.serve()
	fd, err := unix.Open(b.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := os.Rename(b.path, b.path+"-moved"); err != nil {
		t.Fatal(err)
	}
	var in inbox
	c := b.client("push/0/1", &in, func(o *Options) { o.Path = FDPath(fd) })
	patient(t, c, message("c", "x"))
	testkit.Eventually(t, "own publication", func() bool { return in.count() == 1 })
}

func TestStrangersAreRefused(t *testing.T) {
	b := newBus(t)
	b.serve(func(s *Server) { s.uids = []uint32{12345} })
	c, err := NewClient(Options{ID: "x", Path: b.path, Logger: quiet(), StartTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(nil); err == nil {
		c.Close()
		t.Error("a user that is not allowed has been served")
	}
}
