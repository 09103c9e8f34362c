package master

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of `plan`, which runs code that nobody has tried yet; timing.plan is
// the third.
const (
	planMax      = 16 << 20 // bytes
	planErrorMax = 4 << 10  // bytes of its stderr that an error quotes
)

// program is the file that the processes of one generation run from. It is
// opened once per generation and executed through the descriptor, so that a
// respawn after a crash runs what the last reload approved, not what a deploy
// has copied to the path since.
type program struct {
	path string
	file *os.File
}

func openProgram(path string) (*program, error) {
	f, err := os.Open(path)
	if err != nil {
		hint := ""
		if strings.Contains(path, "/go-build") {
			hint = " (`go run` removes its binary: build the program to reload it)"
		}
		return nil, fmt.Errorf("%w%s", err, hint)
	}
	var begins [2]byte
	if _, err := f.ReadAt(begins[:], 0); err == nil && string(begins[:]) == "#!" {
		f.Close()
		return nil, fmt.Errorf("%s is a script: put the program itself there, or a link to it, since all processes of a generation run from that one file", path)
	}
	return &program{path: path, file: f}, nil
}

func (p *program) close() { p.file.Close() }

// same says whether p and q are the same code: the same file or an equal copy.
func (p *program) same(q *program) bool {
	a, errA := p.file.Stat()
	b, errB := q.file.Stat()
	if errA != nil || errB != nil || a.Size() != b.Size() {
		return false
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) ||
		equalContent(io.NewSectionReader(p.file, 0, a.Size()), io.NewSectionReader(q.file, 0, b.Size()))
}

func equalContent(a, b io.Reader) bool {
	bufA, bufB := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(a, bufA)
		k, errB := io.ReadFull(b, bufB)
		if n != k || !bytes.Equal(bufA[:n], bufB[:k]) {
			return false
		}
		if errA != nil || errB != nil {
			return errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF)
		}
	}
}

// start executes p with files as its descriptors 0, 1, 2 …, in a process group
// of its own so that Ctrl-C at the terminal reaches the master alone.
func (p *program) start(argv, env []string, files []uintptr, cred *syscall.Credential) (*os.Process, error) {
	// In the child, before it executes, files are first copied to numbers just
	// above the highest of them. The program must lie beyond those.
	beyond := int(slices.Max(files)) + len(files) + 8
	fd, err := dupAbove(int(p.file.Fd()), beyond)
	if err != nil {
		return nil, fmt.Errorf("duplicate the program's descriptor above %d: %w", beyond, err)
	}
	defer syscall.Close(fd)
	pid, err := forkUnprivileged(procFD(fd), argv, &syscall.ProcAttr{
		Env:   env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true, Credential: cred},
	})
	if err != nil {
		return nil, fmt.Errorf("execute %s: %w", p.path, err)
	}
	return os.FindProcess(pid) // a child cannot lose its pid before it is waited for
}

// procFD is a path that leads to what the calling process has open as fd.
func procFD(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// family knows which processes the master started itself; as PID 1 it also
// inherits those of others (reaper.go).
type family struct {
	mu  sync.Mutex // held from fork to registration, so that the reaper sees no child without it
	own map[int]bool
}

func (f *family) start(p *program, argv, env []string, files []uintptr, cred *syscall.Credential) (*os.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	proc, err := p.start(argv, env, files, cred)
	if err == nil {
		f.own[proc.Pid] = true
	}
	return proc, err
}

// wait reaps proc.
func (f *family) wait(proc *os.Process) (*os.ProcessState, error) {
	state, err := proc.Wait()
	f.forget(proc.Pid)
	return state, err
}

// adopt and forget are start and the end of wait for a process that the master
// has started when it ran another program.
func (f *family) adopt(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.own[pid] = true
}

func (f *family) forget(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.own, pid)
}

// readPlan runs p for its plan, for timeout at most.
func readPlan(ctx context.Context, kin *family, p *program, args []string, timeout time.Duration) (*Plan, error) {
	data, err := p.consult(ctx, kin, inquiry{args: args, env: PlanFDEnv + "=3", timeout: timeout})
	if err != nil {
		return nil, err
	}
	plan := new(Plan)
	if err := json.Unmarshal(data, plan); err != nil {
		return nil, fmt.Errorf("read the plan of %s (%d bytes): %w", p.path, len(data), err)
	}
	return plan, plan.Check()
}

// inquiry is a question to a program that nobody has tried yet.
type inquiry struct {
	args    []string
	env     string   // "KEY=value"
	in      *os.File // its descriptor 4, nil = none
	timeout time.Duration
}

// consult runs p and returns what it writes to its descriptor 3, or as the
// error what it says on stderr.
func (p *program) consult(ctx context.Context, kin *family, q inquiry) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	data, err := p.converse(ctx, kin, q)
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s %s has not finished within %s", p.path, strings.Join(q.args, " "), q.timeout)
	}
	return data, err
}

func (p *program) converse(ctx context.Context, kin *family, q inquiry) ([]byte, error) {
	proc, out, errs, err := p.startInquiry(kin, q)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	defer errs.Close()
	// A grandchild may hold the pipes open: cancelling ends the reading too.
	defer context.AfterFunc(ctx, func() {
		_ = proc.Kill()
		_ = out.SetReadDeadline(time.Now())
		_ = errs.SetReadDeadline(time.Now())
	})()
	said := make(chan string, 1)
	go func() { said <- readEnds(errs, planErrorMax) }()
	data, readErr := io.ReadAll(io.LimitReader(out, planMax+1))
	if len(data) > planMax {
		readErr = fmt.Errorf("it exceeds %d bytes", planMax)
		_ = proc.Kill()
	}
	reason := <-said
	state, err := kin.wait(proc)
	command := p.path + " " + strings.Join(q.args, " ")
	switch {
	case err != nil:
		return nil, fmt.Errorf("wait for %s: %w", command, err)
	case readErr != nil:
		return nil, fmt.Errorf("read what %s writes: %w", command, readErr)
	case !state.Success() && reason == "":
		return nil, fmt.Errorf("%s: %s", command, state)
	case !state.Success():
		return nil, errors.New(reason)
	}
	return data, nil
}

// startInquiry runs p with its answer and its stderr going to pipes, whose other
// ends are the caller's to close.
func (p *program) startInquiry(kin *family, q inquiry) (proc *os.Process, out, errs *os.File, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	defer null.Close()
	out, outW, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer outW.Close()
	errs, errsW, err := os.Pipe()
	if err != nil {
		out.Close()
		return nil, nil, nil, err
	}
	defer errsW.Close()
	files := []uintptr{null.Fd(), null.Fd(), errsW.Fd(), outW.Fd()}
	if q.in != nil {
		files = append(files, q.in.Fd())
	}
	proc, err = kin.start(p, append([]string{p.path}, q.args...), append(childEnv(), q.env), files, nil)
	if err != nil {
		out.Close()
		errs.Close()
		return nil, nil, nil, err
	}
	return proc, out, errs, nil
}

// readEnds returns what r has, trimmed; of more than max bytes the beginning,
// where a panic says what it is about, and the end.
func readEnds(r io.Reader, max int) string {
	head, _ := io.ReadAll(io.LimitReader(r, int64(max/2)))
	var tail []byte
	gap := ""
	buf := make([]byte, max/2)
	for {
		n, err := r.Read(buf)
		tail = append(tail, buf[:n]...)
		if over := len(tail) - max/2; over > 0 {
			tail, gap = tail[over:], "\n…\n"
		}
		if err != nil {
			return strings.TrimSpace(strings.ToValidUTF8(string(head)+gap+string(tail), "?"))
		}
	}
}

// secretWords are parts of the names of variables that hold secrets of the config.
var secretWords = []string{"KEY", "SECRET", "TOKEN", "PASS", "URL"}

// servingEnv is the environment of workers and of the broker process: childEnv
// without the secrets of the config. Each gets what it needs of these by message,
// and what they run needs none.
func servingEnv() []string {
	return slices.DeleteFunc(childEnv(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "PUSHD_") &&
			slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
	})
}

// childEnv is the environment without what is meant for the master alone.
func childEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return key == PlanFDEnv || slices.Contains(managerEnv, key)
	})
}
