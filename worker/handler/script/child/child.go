// Package child starts a program in another language beside a worker: with a
// socket at descriptor 3, its output as lines, bounded memory, no way to gain
// rights, and an end that takes all that it has started along.
package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Args   []string // the program, looked up in PATH, and its arguments
	Dir    string   // working directory, "" = that of this process
	Env    []string // "KEY=value", beside the environment of this process without PUSHD_*
	Memory int64    // bytes of data at which the kernel gives it no more, 0 = no limit

	// Line gets each line of standard output and error, without its end; a long
	// one in pieces. It runs on a goroutine of its own, and no more of the output
	// is read before it returns.
	Line func(stream, line string)
}

// Process is a started program. All methods may be called by any goroutine.
type Process struct {
	PID    int
	Socket *os.File // never blocks, so deadlines work; its stream ends when the process does

	theirs *os.File // the other end, open until Close: what was not read waits there
	cmd    *exec.Cmd
	done   chan struct{}
	exit   string

	mu   sync.Mutex
	tail []words
}

// Start starts it. An error is one before there was a process.
func Start(s Spec) (*Process, error) {
	if len(s.Args) == 0 {
		return nil, errors.New("no command to start")
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	p := &Process{Socket: ours, theirs: theirs, done: make(chan struct{})}
	p.cmd = exec.Command(s.Args[0], s.Args[1:]...)
	p.cmd.Dir = s.Dir
	p.cmd.Env = append(environment(os.Environ()), s.Env...)
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.SysProcAttr = attributes()
	var out output
	if err = out.open(p.cmd); err == nil {
		err = p.launch(s, &out)
	}
	if err != nil {
		out.close()
		p.Close()
		return nil, fmt.Errorf("start %q: %w", strings.Join(s.Args, " "), err)
	}
	return p, nil
}

// launch starts it on a thread that lives as long as it does: the kernel ends a
// child when the thread that has started it ends, and what is forbidden to that
// thread is forbidden to the child.
func (p *Process) launch(s Spec, out *output) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := forbidRights()
		if err == nil {
			err = p.cmd.Start()
		}
		if err != nil {
			started <- err
			return
		}
		p.PID = p.cmd.Process.Pid
		err = limitMemory(p.PID, s.Memory)
		if err != nil {
			p.KillAll()
		}
		out.read(p, s.Line)
		started <- err
		p.wait(out)
	}()
	return <-started
}

// lastWords is how long output may come after the end.
const lastWords = time.Second

func (p *Process) wait(out *output) {
	err := p.cmd.Wait()
	p.KillAll() // what it has started
	hangup(p.theirs, false)
	out.wait(lastWords)
	p.exit = "it ended with status 0"
	if err != nil {
		p.exit = "it ended by " + strings.TrimPrefix(err.Error(), "signal: ")
		if status := (*exec.ExitError)(nil); errors.As(err, &status) && status.ExitCode() >= 0 {
			p.exit = fmt.Sprintf("it ended with status %d", status.ExitCode())
		}
	}
	close(p.done)
}

// Done is closed when it has ended and all that it had to say has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how it ended. It is valid once Done is closed.
func (p *Process) Exit() string { return p.exit }

// Signal sends it a signal; one that has ended gets none.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// KillAll ends it, and what it has started and not put elsewhere.
func (p *Process) KillAll() { _ = syscall.Kill(-p.PID, syscall.SIGKILL) }

// Unread returns how many of the last bytes that were written to Socket the
// process has not read. What it has of a message is told from what it has not by
// that, once it has ended.
func (p *Process) Unread() int { return unread(p.theirs) }

// Close closes both ends of the socket.
func (p *Process) Close() {
	p.Socket.Close()
	p.theirs.Close()
}

// Hangup ends a socket for both ends, whoever has duplicates of it.
func Hangup(f *os.File) { hangup(f, true) }

// Words returns the last lines of its output that are not forgotten.
func (p *Process) Words() (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.tail {
		list = append(list, w.line)
	}
	return list
}

// Forget lets go of lines that came before t.
func (p *Process) Forget(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = slices.DeleteFunc(p.tail, func(w words) bool { return w.at.Before(t) })
}

// Because is Exit with its last words.
func (p *Process) Because() string {
	if words := p.Words(); len(words) > 0 {
		return p.exit + ": " + strings.Join(words, " | ")
	}
	return p.exit + ", and has said nothing"
}

// environment leaves out what is pushd's own, secrets among it.
func environment(all []string) (out []string) {
	for _, e := range all {
		if !strings.HasPrefix(e, "PUSHD_") && !strings.HasPrefix(e, "NOTIFY_SOCKET=") {
			out = append(out, e)
		}
	}
	return out
}
