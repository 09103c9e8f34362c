package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

func reloadsCommand() *cli.Command {
	return &cli.Command{
		Name:  "reloads",
		Usage: "what pushd promises of a reload, measured on one of its own and compared with the reach",
		Flags: ownFlags(
			connectionsFlag(15_000),
			&cli.IntFlag{Name: "times", Value: 20, Usage: "reloads under load, at `LEAST` one"},
			&cli.IntFlag{Name: "row", Value: 100, Usage: "reloads in a `ROW`"},
		),
		Action: reloads,
	}
}

// ownFlags are those of a command that starts a pushd of its own.
func ownFlags(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.StringFlag{Name: "pushd", Value: "bin/pushd", Usage: "`PROGRAM`"},
		&cli.BoolFlag{Name: "json", Usage: "print JSON"})
}

// promise is one line of the table.
type promise struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Least bool    `json:"at_least"` // else at most
	Reach float64 `json:"reach"`
	OK    bool    `json:"ok"`
}

// promises measures them, one server after the other.
type promises struct {
	*cli.Context
	self, program, dir string
	routes, more       string // of the server's config; {apps} in more is a free address
	list               []promise
}

func reloads(c *cli.Context) error {
	if c.Int("times") < 1 || c.Int("row") < 2 || c.Int("connections") < 1000 {
		return fmt.Errorf("%w: --times is at least 1, --row 2, --connections 1000", errUsage)
	}
	p := &promises{Context: c, routes: `"/echo" = "echo", "/chat" = "chat"`}
	return p.prove(func() error {
		for i, stage := range []func(*ownServer) error{p.underLoad, p.rate, p.inARow} {
			if err := p.with([]int{2, 1, 2}[i], stage); err != nil {
				return err
			}
		}
		return nil
	})
}

// prove runs the stages, in a folder of their own, and prints what they have found.
func (p *promises) prove(stages func() error) (err error) {
	if p.self, err = os.Executable(); err != nil {
		return err
	}
	if p.program, err = filepath.Abs(p.String("pushd")); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp("", "pushbench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(p.dir) }()
	if err := stages(); err != nil {
		return err
	}
	return p.output()
}

// ownServer is a pushd that runs for one stage.
type ownServer struct {
	program, config, reports string
	address, api, apps       string
}

// with runs a stage on a fresh server with so many workers.
func (p *promises) with(workers int, stage func(*ownServer) error) error {
	dir, err := os.MkdirTemp(p.dir, "")
	if err != nil {
		return err
	}
	s := &ownServer{program: p.program, config: filepath.Join(dir, "pushd.toml"), reports: filepath.Join(dir, "reports")}
	for _, address := range []*string{&s.address, &s.api, &s.apps} {
		if *address, err = freeAddress(); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("runtime_dir = %q\ndata_dir = %q\ndrain = \"1s\"\n[api]\nlisten = %q\nkey = \"bench\"\n[[worker]]\nname = \"push\"\nlisten = \"websocket://%s\"\ncount = %d\nlimits = { max_queue = \"16MiB\" }\nroutes = { %s }\n%s",
		filepath.Join(dir, "run"), filepath.Join(dir, "data"), s.api, s.address, workers, p.routes, strings.ReplaceAll(p.more, "{apps}", s.apps))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := s.run(p.Context.Context, "start", "-d"); err != nil {
		return err
	}
	defer func() { _, _ = s.run(context.WithoutCancel(p.Context.Context), "stop") }()
	return stage(s)
}

// freeAddress is one of this machine at which nobody listens. Until the end of this
// process a socket stays bound to its port that does not listen: a server that sets
// SO_REUSEADDR, as servers do, gets it, and nobody by chance.
func freeAddress() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &unix.SockaddrInet4{}))
	}
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port), nil
}

// run runs a command of the server's.
func (s *ownServer) run(ctx context.Context, args ...string) ([]byte, error) {
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, s.program, append([]string{args[0], "-c", s.config}, args[1:]...)...)
	c.Stdout, c.Stderr = &out, &errs
	c.Env = append(os.Environ(), "PUSHD_API_KEY=bench")
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s%s", s.program, args[0], err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

// load keeps a standing load up while the server reloads.
func (p *promises) load(s *ownServer, times int, flags ...string) (Report, []reloadOutcome, error) {
	return p.loadBy("ws", s, times, flags...)
}

func (p *promises) loadBy(way string, s *ownServer, times int, flags ...string) (Report, []reloadOutcome, error) {
	r, _, err := p.report(append([]string{"reload", "--url", way + "://" + s.address, "--api", "http://" + s.api, "--key", "bench",
		"--times", strconv.Itoa(times), "--exec", fmt.Sprintf("'%s' reload -c '%s' --json >> '%s'", s.program, s.config, s.reports)}, flags...)...)
	if err != nil {
		return r, nil, err
	}
	raw, err := os.ReadFile(s.reports)
	if err != nil {
		return r, nil, err
	}
	var outcomes []reloadOutcome
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var o reloadOutcome
		if err := d.Decode(&o); err == io.EOF {
			return r, outcomes, nil
		} else if err != nil {
			return r, nil, fmt.Errorf("read the reports of reload: %w", err)
		}
		outcomes = append(outcomes, o)
	}
}

// reloadOutcome is the part of `reload --json` that is judged.
type reloadOutcome struct {
	OK    bool
	Error string
	Pause struct{ P99, Max float64 } `json:"pause_ms"`
	Slots []struct {
		Moved      int
		HandoverMS float64 `json:"handover_ms"`
	}
}

// underLoad is the first line of the table and the pauses.
func (p *promises) underLoad(s *ownServer) error {
	n := p.Int("connections")
	share := func(of int) int { return max(of*min(n, 15_000)/15_000, 1) } // of fewer connections as many as of 15,000
	echoes, members, slow := share(1000), share(1000), share(100)
	r, outcomes, err := p.load(s, p.Int("times"), "--idle", strconv.Itoa(n-echoes-2*members-slow), "--echoes", strconv.Itoa(echoes), "--echo-rate", strconv.Itoa(share(2000)),
		"--channels", "2", "--members", strconv.Itoa(members), "--publish-rate", "20", "--connect-rate", strconv.Itoa(share(200)), "--slow", strconv.Itoa(slow), "--every", "500ms")
	if err != nil {
		return err
	}
	var failed, p99, longest float64
	var each []float64
	for _, o := range outcomes {
		each = append(each, o.Pause.P99)
		p99, longest = max(p99, o.Pause.P99), max(longest, o.Pause.Max)
		if !o.OK {
			failed++
			_, _ = fmt.Fprintf(p.App.ErrWriter, "a reload failed: %s\n", o.Error)
		}
	}
	open, _ := r.Numbers.Get("connections")
	p.atLeast("connections", open, "", float64(n))
	p.atLeast("reloads under load", float64(len(outcomes))-failed, "", float64(p.Int("times")))
	for _, kind := range []string{"closed", "loss", "duplicate", "reorder", "corrupt", "refused"} {
		faults, _ := r.Numbers.Get("faults_" + kind)
		p.atMost("messages or connections: "+kind, faults, "", 0)
	}
	p.atMost("pause of a connection, p99 of the worst reload", p99, "ms", 150)
	p.atMost("pause of a connection, longest", longest, "ms", 500)
	if machine, _ := r.Numbers.Get("control_p99_us"); machine > 0 && len(each) > 0 {
		slices.Sort(each)
		_, _ = fmt.Fprintf(p.App.ErrWriter, "p99 of the pause, median of the reloads: %.1f ms; a thread that only sleeps woke %.1f ms late (p99 in the same seconds): %.1f times that\n",
			each[len(each)/2], machine/1000, each[len(each)/2]*1000/machine)
	}
	if seen, ok := r.Numbers.Get("echo_marked_p99_us"); ok {
		p.atMost("echo while a reload runs, p99 that clients see", seen/1000, "ms", 150)
	}
	return nil
}

// rate is how fast idle connections move.
func (p *promises) rate(s *ownServer) error {
	_, outcomes, err := p.load(s, 5, "--idle", strconv.Itoa(p.Int("connections")), "--echoes", "0", "--channels", "0", "--connect-rate", "0", "--publish-rate", "0", "--slow", "0")
	if err != nil {
		return err
	}
	var rates []float64
	for _, o := range outcomes {
		for _, slot := range o.Slots {
			if slot.HandoverMS > 0 {
				rates = append(rates, float64(slot.Moved)/slot.HandoverMS*1000)
			}
		}
	}
	if len(rates) == 0 {
		return fmt.Errorf("no reload told how long its hand-over took")
	}
	slices.Sort(rates)
	p.atLeast("hand-over of idle connections, median", rates[len(rates)/2], "/s", 15_000)
	return nil
}

// ownStatus is the part of `status --json` that is judged.
type ownStatus struct {
	Master  struct{ PID, Goroutines int }
	Broker  struct{ PID int }
	Workers []struct {
		PID, Goroutines int
		RSS             float64 `json:"rss_bytes"`
	}
}

// holding is what the processes hold.
type holding struct {
	files, goroutines int
	rss               float64 // of the largest worker
}

func (s *ownServer) holding(ctx context.Context) (h holding, err error) {
	raw, err := s.run(ctx, "status", "--json")
	if err != nil {
		return h, err
	}
	var st ownStatus
	if err := json.Unmarshal(raw, &st); err != nil {
		return h, err
	}
	pids := []int{st.Master.PID, st.Broker.PID}
	h.goroutines = st.Master.Goroutines
	for _, w := range st.Workers {
		pids, h.goroutines, h.rss = append(pids, w.PID), h.goroutines+w.Goroutines, max(h.rss, w.RSS)
	}
	for _, pid := range pids {
		files, err := fewestFiles(pid)
		if err != nil {
			return h, err
		}
		h.files += files
	}
	return h, nil
}

const (
	givesBack = 20 // seconds in which a busy machine gives back what a reload has needed
	moreRSS   = 10 // percent that the last generation may have beyond the second

	// ownPages is what one generation may have of its program and another gives back,
	// which only one with a heap that has grown does.
	ownPages = 4 << 20
)

// mayHave is how many percent a generation may have beyond one of that size.
func mayHave(rss float64) float64 { return max(moreRSS, 100*ownPages/rss) }

// looks tells what the processes hold a second from now, and again each second until
// that is no more than before, n times at most.
func (s *ownServer) looks(ctx context.Context, n int, before holding) (h holding, err error) {
	for range n {
		time.Sleep(time.Second) // what a question needs for a moment is gone
		if h, err = s.holding(ctx); err != nil || !h.beyond(before) {
			break
		}
	}
	return h, err
}

func (h holding) beyond(o holding) bool {
	return h.files > o.files || h.goroutines > o.goroutines || h.rss > o.rss*(1+mayHave(o.rss)/100)
}

// fewestFiles returns how many descriptors a process holds, without those that
// come and go: the connection of the command that has just asked is one.
func fewestFiles(pid int) (fewest int, err error) {
	for look := range 20 {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return 0, err
		}
		if look == 0 || len(files) < fewest {
			fewest = len(files)
		}
		time.Sleep(25 * time.Millisecond)
	}
	return fewest, nil
}

// inARow compares the last generation of many with the second.
func (p *promises) inARow(s *ownServer) error {
	ctx := p.Context.Context
	var second, last holding
	for i := range p.Int("row") {
		_, err := s.run(ctx, "reload")
		switch {
		case err != nil:
		case i == 0:
			second, err = s.looks(ctx, 1, holding{})
			last = second
		case i == p.Int("row")-1:
			last, err = s.looks(ctx, givesBack, second)
		}
		if err != nil {
			return err
		}
	}
	p.atMost("descriptors left behind by a row of reloads", float64(last.files-second.files), "", 0)
	p.atMost("goroutines left behind", float64(last.goroutines-second.goroutines), "", 0)
	p.atMost("RSS of the last generation over the second", 100*(last.rss/second.rss-1), "%", mayHave(second.rss))
	return nil
}

func (p *promises) atLeast(name string, value float64, unit string, reach float64) {
	p.list = append(p.list, promise{name, value, unit, true, reach, value >= reach})
}

func (p *promises) atMost(name string, value float64, unit string, reach float64) {
	p.list = append(p.list, promise{name, value, unit, false, reach, value <= reach})
}

// short writes v with about three digits that count, and no exponent.
func short(v float64) string {
	if math.Abs(v) < 100 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// output prints the table; a reach that is missed is an error.
func (p *promises) output() error {
	ok := !slices.ContainsFunc(p.list, func(l promise) bool { return !l.OK })
	if p.Bool("json") {
		if err := json.NewEncoder(p.App.Writer).Encode(map[string]any{"ok": ok, "machine": machine(), "promises": p.list}); err != nil {
			return err
		}
	} else {
		width := 50
		for _, l := range p.list {
			width = max(width, utf8.RuneCountInString(l.Name))
		}
		for _, l := range p.list {
			bound, mark := "at most", ""
			if l.Least {
				bound = "at least"
			}
			if !l.OK {
				mark = "  MISSED"
			}
			_, _ = fmt.Fprintf(p.App.Writer, "%-*s %10s %-3s %s %g%s\n", width, l.Name, short(l.Value), l.Unit, bound, l.Reach, mark)
		}
	}
	if !ok {
		return errFaulty
	}
	return nil
}
