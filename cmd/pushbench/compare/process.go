package compare

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program is a server that is to be started.
type Program struct {
	Args  []string // the program and its arguments
	Env   []string // besides this process' own
	Cores []int    // on which it runs; none: on all that this process may use
	// Address, host:port, is where it accepts once it is ready. "": it prints a
	// line that begins with "ready".
	Address string
}

// Process is a server that runs.
type Process struct {
	cmd   *exec.Cmd
	said  tail
	ready chan struct{} // closed when it has printed that it is
	ended chan struct{} // closed when it has ended and was waited for
}

const (
	startTime = time.Minute
	stopTime  = 15 * time.Second
)

// Launch starts a server and returns once it is ready, or an error with the last
// that it has printed. It runs in a session of its own, and so in a scheduler group
// of its own (see Grouped). It is told to end when ctx does.
func Launch(ctx context.Context, s Program) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, s.Args[0], s.Args[1:]...), ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.cmd.Env = append(p.cmd.Environ(), s.Env...)
	p.cmd.Stderr = &p.said
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTime
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(p.cmd, s.Cores); err != nil {
		return nil, err
	}
	go p.read(out)
	if err := p.await(s.Address); err != nil {
		p.Stop()
		return nil, fmt.Errorf("%v does not start: %w: %s", s.Args, err, p.said.String())
	}
	return p, nil
}

// read takes what the server prints, until it ends.
func (p *Process) read(out io.Reader) {
	defer close(p.ended)
	said := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !said && strings.HasPrefix(lines.Text(), "ready") {
			said = true
			close(p.ready)
		}
		_, _ = fmt.Fprintln(&p.said, lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // behind a line that is too long
	_ = p.cmd.Wait()
}

// await waits until the server is ready.
func (p *Process) await(address string) error {
	late := time.After(startTime)
	ready, look := p.ready, time.NewTicker(20*time.Millisecond)
	defer look.Stop()
	if address == "" {
		look.Stop()
	} else {
		ready = nil
	}
	for {
		select {
		case <-ready:
			return nil
		case <-look.C:
			if c, err := net.Dial("tcp", address); err == nil {
				return c.Close()
			}
		case <-p.ended:
			return fmt.Errorf("it has ended (%v)", p.cmd.ProcessState)
		case <-late:
			return fmt.Errorf("it was not ready within %s", startTime)
		}
	}
}

// PID is that of the server's root process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop ends the server and waits for it. It may be called again, and of nil.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(stopTime, func() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) })
	defer late.Stop()
	<-p.ended
}

// tail is the end of what somebody has written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = append(t.text[:0], t.text[max(len(t.text)-tailBytes, 0):]...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
