package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Obstacle is what would keep a plan from being carried out.
type Obstacle struct {
	Subject string // an address of the plan, "runtime_dir", "log_file", or the name of a worker group
	Err     error
}

// rehearseBound is how long the names in addresses may take to look up.
const rehearseBound = 3 * time.Second

// Rehearse looks for what would keep a start with p, on this machine and by
// this user, from getting as far as its first process. It changes nothing.
// Addresses and a data directory that somebody has already, and a full disk, are
// told apart, as busy: that is a matter of the moment. Those of taken need not be looked at.
func Rehearse(ctx context.Context, p *Plan, taken []Socket) (obstacles, busy []Obstacle) {
	ctx, cancel := context.WithTimeout(ctx, rehearseBound)
	defer cancel()
	note := func(subject string, err error) {
		if err != nil {
			obstacles = append(obstacles, Obstacle{subject, err})
		}
	}
	note("runtime_dir", usable(p.RuntimeDir))
	if err := Room(p.RuntimeDir); err != nil {
		busy = append(busy, Obstacle{"runtime_dir", err})
	}
	note("log_file", loggable(p.LogFile, p.RuntimeDir))
	for _, g := range p.Workers {
		_, err := credentialOf(g.User, g.Group)
		note(g.Name, err)
	}
	if b := p.Broker; b != nil {
		_, err := credentialOf(b.User, b.Group)
		note("broker", err)
	}
	if p.Broker != nil {
		note("data_dir", p.Broker.entrustable())
		if err := dataFree(p.Broker.Data); err != nil {
			busy = append(busy, Obstacle{"data_dir", err})
		}
	}
	for _, l := range p.Listeners {
		e, err := endpointOf(l.Address)
		if err == nil && (e.lost() || !slices.ContainsFunc(taken, func(s Socket) bool { return s.endpoint() == e })) {
			err = bindable(ctx, e, p.RuntimeDir)
		}
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			busy = append(busy, Obstacle{l.Address, explainBind(l.Address, e, err)})
		case err != nil:
			note(l.Address, explainBind(l.Address, e, err))
		}
	}
	return obstacles, busy
}

// usable says why dir could not be the runtime folder.
func usable(dir string) error {
	f, err := OpenFolder(dir)
	if err == nil {
		f.Close()
	}
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return Writable(dir)
	}
	return err
}

// bindable says why e could not be bound. Nothing is seen of it from outside: a
// stream socket is bound and never listens.
func bindable(ctx context.Context, e endpoint, runtimeDir string) error {
	switch e.network {
	case "unix":
		return socketPlace(e.address, runtimeDir)
	case "udp":
		a, err := net.ResolveUDPAddr("udp", e.address)
		if err != nil {
			return err
		}
		return tryBind(syscall.SOCK_DGRAM, a.IP, a.Port)
	}
	addrs, port, err := resolve(ctx, e.address)
	if err != nil {
		return err
	}
	return tryBind(syscall.SOCK_STREAM, addrs, port)
}

// resolve returns what net.Listen would listen on.
func resolve(ctx context.Context, address string) (net.IP, int, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil || host == "" {
		return nil, port, err
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, 0, err
	}
	for _, a := range ips {
		if a.IP.To4() != nil {
			return a.IP, port, nil
		}
	}
	return ips[0].IP, port, nil
}

// socketPlace says why no unix socket could be made at path.
func socketPlace(path, runtimeDir string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket: remove it or choose another path", path)
	}
	if err == nil {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return errAnswered
		}
	}
	if dir := filepath.Dir(path); dir != runtimeDir { // which the start makes
		return inFolder(dir)
	}
	return nil
}

// Writable says why dir could not be a folder in which this process makes
// files; a folder that can be made on the way is as good as one that is there.
func Writable(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	case err == nil:
		return inFolder(dir)
	case errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir):
		return Writable(filepath.Dir(dir))
	}
	return err
}

// Room says why not even a small file could be made in dir, or in the folder that
// it would be made in: the disk is full. A file is as good as its folder.
func Room(dir string) error {
	var s unix.Statfs_t
	err := unix.Statfs(dir, &s)
	if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
		return Room(filepath.Dir(dir))
	}
	free := s.Bavail
	if os.Geteuid() == 0 {
		free = s.Bfree // the last part is kept for root
	}
	if err == nil && s.Blocks > 0 && (free == 0 || s.Files > 0 && s.Ffree == 0) {
		return &os.PathError{Op: "make files in", Path: dir, Err: syscall.ENOSPC}
	}
	return nil // what cannot be told shows when it is tried
}

// inFolder says why no file could be made in a folder that has to be there.
func inFolder(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	}
	if err := mayWrite(dir); err != nil {
		return fmt.Errorf("make files in %s: %w", dir, err)
	}
	return nil
}

// loggable says why openLog would fail.
func loggable(path, runtimeDir string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err == nil {
		return f.Close()
	}
	if dir := filepath.Dir(path); errors.Is(err, os.ErrNotExist) && dir != runtimeDir {
		return inFolder(dir)
	} else if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
