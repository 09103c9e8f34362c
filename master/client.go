package master

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"time"
)

// ErrNotRunning is wrapped by Dial's error when no master answers.
var ErrNotRunning = errors.New("no pushd runs")

// ErrHungUp is wrapped by the error of a call that the master has not answered,
// because it ended before.
var ErrHungUp = errors.New("hung up")

// Client talks to a running master, one request at a time.
type Client struct {
	dir  string
	conn net.Conn
	in   *bufio.Reader
}

// Dial connects to the master that runs in runtimeDir.
func Dial(runtimeDir string) (*Client, error) {
	dir, err := OpenShared(runtimeDir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, runtimeDir)
	}
	if err != nil {
		return nil, fmt.Errorf("runtime_dir: %w", err)
	}
	defer dir.Close()
	c, err := net.DialTimeout("unix", dir.Place(controlSock), 2*time.Second)
	switch {
	case err == nil:
		return &Client{dir: runtimeDir, conn: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, runtimeDir)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("control socket %s: permission denied (run as root, as pushd's user, or as a member of the directory's group)",
			filepath.Join(runtimeDir, controlSock))
	}
	return nil, fmt.Errorf("connect to the master: %w", dir.failed("connect", controlSock, err))
}

// Close ends the conversation.
func (c *Client) Close() error { return c.conn.Close() }

// WaitGone waits for the end of a master that has hung up, for at most timeout:
// the kernel closes its sockets before it lets go of its lock, by which it seems
// to run.
func (c *Client) WaitGone(timeout time.Duration) {
	for until := time.Now().Add(timeout); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if _, runs := MasterPID(c.dir); !runs {
			return
		}
	}
}

// Status returns what `status` shows.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	st := new(Status)
	return st, c.ask(ctx, "status", nil, st)
}

// Connections returns one page; its Cursor leads to the next.
func (c *Client) Connections(ctx context.Context, q ConnQuery) (*ConnPage, error) {
	page := new(ConnPage)
	return page, c.ask(ctx, "connections", q, page)
}

// Reopen makes every process write to a new file at the path of the log, which
// has been moved away. No connection is touched.
func (c *Client) Reopen(ctx context.Context) (*Reopened, error) {
	r := new(Reopened)
	return r, c.ask(ctx, "reopen", nil, r)
}

// Reload runs a reload and waits for its end. A failed one is a *ReloadError.
// progress, which may be nil, is called from here as steps are done.
func (c *Client) Reload(ctx context.Context, progress func(Progress)) (*ReloadReport, error) {
	return c.ReloadWith(ctx, ReloadOptions{}, progress)
}

// ReloadWith is Reload that may replace more.
func (c *Client) ReloadWith(ctx context.Context, o ReloadOptions, progress func(Progress)) (*ReloadReport, error) {
	report := new(ReloadReport)
	return report, c.exchange(ctx, "reload", o, report, progress)
}

// Stop stops the master and returns when it and all its processes are gone.
// What o allows, and the drain of the plan, bound the time.
func (c *Client) Stop(ctx context.Context, o StopOptions) error {
	var who owner
	if err := c.ask(ctx, "stop", o, &who); err != nil {
		return err
	}
	return who.ifThere(func(h *handle) error { return h.waitGone(ctx, who.PID) })
}

// ifThere calls do with the master's process, unless that is gone.
func (who owner) ifThere(do func(*handle) error) error {
	h, err := openProcess(who.PID, who.Start)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.close()
	return do(h)
}

// waitGone waits for the end of the process, which has that pid.
func (h *handle) waitGone(ctx context.Context, pid int) error {
	for !h.wait(50 * time.Millisecond) {
		if ctx.Err() != nil {
			return fmt.Errorf("pid %d has not stopped yet: %w", pid, context.Cause(ctx))
		}
	}
	return nil
}

// endingWait is for a master that does not answer because it is about to end: one
// that a signal ends in that moment seems to have failed.
const endingWait = 300 * time.Millisecond

// Terminate stops the master of runtimeDir, which does not answer, by SIGTERM. It
// returns when that is gone.
func Terminate(ctx context.Context, runtimeDir string) error {
	dir, err := OpenShared(runtimeDir)
	if err != nil {
		return fmt.Errorf("runtime_dir: %w", err)
	}
	defer dir.Close()
	who, ok := readOwner(dir)
	if !ok {
		return nil
	}
	return who.ifThere(func(h *handle) error {
		if h.wait(endingWait) {
			return nil
		}
		if err := h.signal(syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop pid %d by a signal: %w", who.PID, err)
		}
		return h.waitGone(ctx, who.PID)
	})
}

func (c *Client) ask(ctx context.Context, op string, args, result any) error {
	return c.exchange(ctx, op, args, result, nil)
}

// exchange sends a request and reads answers until the last. After an error the
// client is of no more use.
func (c *Client) exchange(ctx context.Context, op string, args, result any, progress func(Progress)) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("encode %s: %w", op, err)
	}
	if args == nil {
		raw = nil
	}
	line, err := json.Marshal(request{Version: wireVersion, Op: op, Args: raw})
	if err != nil {
		return fmt.Errorf("encode %s: %w", op, err)
	}
	_ = c.conn.SetDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Now()) })()
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return c.failed(ctx, op, err)
	}
	for {
		line, err := readLine(c.in, answerMax)
		if err != nil {
			return c.failed(ctx, op, err)
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("%s: read the master's answer: %w", op, err)
		}
		switch {
		case a.Progress != nil && progress != nil:
			progress(*a.Progress)
		case !a.Done:
		case a.Failure != nil:
			return a.Failure
		case a.Error != "":
			return fmt.Errorf("%s: %s", op, a.Error)
		default:
			return json.Unmarshal(a.Data, result)
		}
	}
}

func (c *Client) failed(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, context.Cause(ctx))
	}
	return fmt.Errorf("%s: the master in %s %w: %w", op, c.dir, ErrHungUp, err)
}
