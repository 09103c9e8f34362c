package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/compare"
)

func phpCommand() *cli.Command {
	return &cli.Command{
		Name:  "php",
		Usage: "programs of PHP on a pushd of one's own, beside the same programs on Workerman and beside Go handlers, compared with the reach",
		Flags: ownFlags(
			&cli.StringFlag{Name: "workerman", Usage: "`FILE`: vendor/autoload.php of a folder in which composer require workerman/workerman has run"},
			&cli.StringFlag{Name: "php", Value: "php", Usage: "`PROGRAM` that runs Workerman, and its flags, as 'php -d extension=event'"},
			connectionsFlag(15_000),
			&cli.IntFlag{Name: "receivers", Value: 1000, Usage: "of the fan-out, `MANY`"},
			&cli.IntFlag{Name: "messages", Aliases: []string{"m"}, Value: 200, Usage: "of the fan-out, `MANY` a round"},
			&cli.IntFlag{Name: "rounds", Value: 3, Usage: "each server, in turn: what the machine does beside evens out"},
			&cli.IntFlag{Name: "times", Value: 200, Usage: "reloads of PHP under load"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: 5 * time.Second, Usage: "how `LONG` echoes are measured"},
			&cli.DurationFlag{Name: "settle", Value: 30 * time.Second, Usage: "how `LONG` idle connections are left alone"},
		),
		Action: besideWorkerman,
	}
}

func besideWorkerman(c *cli.Context) error {
	if c.Int("connections") < 500 || c.Int("receivers") < 2 || c.Int("rounds") < 1 || c.Int("times") < 1 {
		return fmt.Errorf("%w: --connections is at least 500, --receivers 2, --rounds and --times 1", errUsage)
	}
	if err := need(c, "workerman"); err != nil {
		return err
	}
	if _, err := os.Stat(c.String("workerman")); err != nil {
		return fmt.Errorf("--workerman: %w", err)
	}
	if err := holds(c, c.Int("connections")); err != nil {
		return err
	}
	p := &promises{Context: c, routes: `"/echo" = "echo", "/chat" = "chat"`}
	return p.prove(func() error {
		for _, stage := range []func() error{p.phpMemory, p.phpEchoes, p.phpFanouts, p.phpNaps, p.phpReloads} {
			if err := stage(); err != nil {
				return err
			}
		}
		return nil
	})
}

// holds tells whether Workerman can have so many connections: without an extension it
// waits by select(2), which knows no descriptor above 1,023.
func holds(c *cli.Context, connections int) error {
	if connections <= 900 {
		return nil
	}
	args := append(strings.Fields(c.String("php")), "-r", `echo extension_loaded("event") || extension_loaded("ev") ? "yes" : "no";`)
	out, err := exec.CommandContext(c.Context, args[0], args[1:]...).Output()
	if err != nil {
		return fmt.Errorf("--php %s: %w", c.String("php"), err)
	}
	if string(out) != "yes" {
		return fmt.Errorf("%w: this PHP has neither the extension event nor ev, and without one Workerman has room for some 900 connections: `pecl install event`, and --php 'php -d extension=event'", errUsage)
	}
	return nil
}

// phpProgram is the program of all measurements, of which BENCH_PROGRAM chooses a part.
//
//go:embed php/program.php
var phpProgram []byte

// phpRun is a part of the program, as it is run.
type phpRun struct {
	part  string
	count int   // processes
	cores []int // on which the server runs; none: on all
}

// phpServer is a server of it that runs.
type phpServer struct {
	url string
	pid int
	cmd string // pushd's command for it, up to the verb
}

const (
	onPushd     = "pushd"
	onWorkerman = "Workerman"
)

// serving runs a stage while Workerman, or else pushd, serves a part of the program.
func (p *promises) serving(who string, run phpRun, stage func(phpServer) error) error {
	dir, err := os.MkdirTemp(p.dir, "")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "bench.php")
	if err := os.WriteFile(file, phpProgram, 0o600); err != nil {
		return err
	}
	autoload, err := filepath.Abs(p.String("workerman"))
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	args := append(strings.Fields(p.String("php")), file, "start")
	if who != onWorkerman {
		args = []string{p.program, "php", file, "start", "--allow-root"}
	}
	server, err := compare.Launch(p.Context.Context, compare.Program{Args: args, Cores: run.cores, Address: address, Env: []string{
		"BENCH_PROGRAM=" + run.part, "BENCH_COUNT=" + strconv.Itoa(run.count), "BENCH_LISTEN=" + address, "BENCH_DIR=" + dir, "BENCH_AUTOLOAD=" + autoload,
		"PUSHD_RUNTIME_DIR=" + filepath.Join(dir, "run"), "PUSHD_DATA_DIR=" + filepath.Join(dir, "data"),
	}})
	if err != nil {
		return err
	}
	defer server.Stop()
	return stage(phpServer{url: "ws://" + address, pid: server.PID(),
		cmd: fmt.Sprintf("PUSHD_RUNTIME_DIR='%s' '%s' php '%s'", filepath.Join(dir, "run"), p.program, file)})
}

// way is one of the servers of a measurement, and the flags that reach it.
type way struct {
	name  string
	run   phpRun // of no part: pushd's Go handlers
	path  string
	flags []string
}

// inTurn measures one command on each of some servers in turn, over the rounds, and
// returns the sums of its numbers.
func (p *promises) inTurn(ways []way, command []string, numbers ...string) (map[string][]float64, error) {
	sums := map[string][]float64{}
	for range p.Int("rounds") {
		for _, w := range ways {
			if sums[w.name] == nil {
				sums[w.name] = make([]float64, len(numbers))
			}
			err := p.serve(w, func(s phpServer) error {
				r, err := p.measureAt(s.pid, command[0], append(append([]string{"--url", s.url + w.path}, command[1:]...), w.flags...)...)
				for i, name := range numbers {
					n, _ := r.Numbers.Get(name)
					sums[w.name][i] += n
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	return sums, nil
}

func (p *promises) serve(w way, stage func(phpServer) error) error {
	if w.run.part != "" {
		return p.serving(w.name, w.run, stage)
	}
	return p.with(max(w.run.count, 1), func(s *ownServer) error {
		pid, err := s.master(p.Context.Context)
		if err != nil {
			return err
		}
		return stage(phpServer{url: "ws://" + s.address, pid: pid})
	})
}

// phpMemory: all processes of a program that echoes, and what one idle connection adds.
func (p *promises) phpMemory() error {
	echo, goes := phpRun{part: "echo", count: 1}, "Go handler"
	base, few, many, each := map[string]float64{}, map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, w := range []way{{name: onPushd, run: echo}, {name: onWorkerman, run: echo}, {name: goes, path: "/echo"}} {
		for _, n := range []int{min(1000, p.Int("connections")), p.Int("connections")} {
			err := p.serve(w, func(s phpServer) error {
				if err := sleep(p.Context, p.Duration("settle")); err != nil { // what only the start has needed is given back
					return err
				}
				r, err := p.measureAt(s.pid, "idle", "--url", s.url+w.path, "-n", strconv.Itoa(n), "--hold", "0s", "--settle", p.Duration("settle").String())
				base[w.name], _ = r.Numbers.Get("server_base_bytes")
				few[w.name] = many[w.name]
				many[w.name], _ = r.Numbers.Get("server_bytes")
				each[w.name], _ = r.Numbers.Get("server_bytes_per_connection")
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	mb := func(of map[string]float64) string {
		return short(of[onPushd]/1e6) + " by " + short(of[onWorkerman]/1e6)
	}
	p.atMost(fmt.Sprintf("PSS of all processes with %d idle, %s MB; %d: %s; none: %s", p.Int("connections"), mb(many), min(1000, p.Int("connections")), mb(few), mb(base)), many[onPushd]/many[onWorkerman], "x", 0.3)
	p.atMost(fmt.Sprintf("idle connection of no onConnect, beside a Go handler's %s B; Workerman's %s B", short(each[goes]), short(each[onWorkerman])), each[onPushd]-each[goes], "B", 8)
	return nil
}

// phpEchoes: what a message costs that goes through PHP.
func (p *promises) phpEchoes() error {
	run := phpRun{part: "echo", count: 1}
	for _, n := range []int{100, min(1000, p.Int("connections"))} {
		sums, err := p.inTurn([]way{{name: onPushd, run: run}, {name: onWorkerman, run: run}},
			[]string{"echo", "-n", strconv.Itoa(n), "-d", p.Duration("duration").String()}, "server_cpu_us_per_message", "messages_per_s")
		if err != nil {
			return err
		}
		pushd, workerman := sums[onPushd], sums[onWorkerman]
		p.atMost(fmt.Sprintf("echo, %d connections, CPU by Workerman's %s µs", n, p.mean(workerman[0])), pushd[0]/workerman[0], "x", 1.1)
		p.atLeast(fmt.Sprintf("… rate by Workerman's %s/s", p.mean(workerman[1])), pushd[1]/workerman[1], "x", 1.3)
	}
	return nil
}

// mean writes what a sum over the rounds is in each.
func (p *promises) mean(sum float64) string { return short(sum / float64(p.Int("rounds"))) }

// phpFanouts: what a tutorial's loop over all connections costs, and one call for all.
func (p *promises) phpFanouts() error {
	run := func(part string) phpRun { return phpRun{part: part, count: 1} }
	const all, goes = "broadcast", "Go handler"
	command := []string{"fanout", "-n", strconv.Itoa(p.Int("receivers")), "-m", strconv.Itoa(p.Int("messages"))}
	sums, err := p.inTurn([]way{{name: onPushd, run: run("foreach")}, {name: onWorkerman, run: run("foreach")}, {name: all, run: run(all)}, {name: goes, path: "/chat?room=bench"}}, command, "server_cpu_us_per_delivery")
	if err != nil {
		return err
	}
	p.atMost(fmt.Sprintf("foreach … send to %d, CPU by Workerman's %s µs a delivery", p.Int("receivers"), p.mean(sums[onWorkerman][0])), sums[onPushd][0]/sums[onWorkerman][0], "x", 0.95)
	p.atMost(fmt.Sprintf("broadcast() to %d, CPU by a Go handler's %s µs a delivery", p.Int("receivers"), p.mean(sums[goes][0])), sums[all][0]/sums[goes][0], "x", 1.05)
	return nil
}

// phpNaps: how long clients wait where one callback in a hundred takes 20 ms, with one
// core for the server, and with a process for each core, which the client needs too.
func (p *promises) phpNaps() error {
	cores, _, err := compare.Apart()
	if err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		run  phpRun
	}{
		{"one core", phpRun{part: "nap", count: 1, cores: cores[:1]}},
		{"two saturated", phpRun{part: "nap", count: 2}},
	} {
		sums, err := p.inTurn([]way{{name: onPushd, run: m.run}, {name: onWorkerman, run: m.run}},
			[]string{"echo", "-n", "100", "-d", p.Duration("duration").String()}, "echo_p50_us", "echo_p99_us")
		if err != nil {
			return err
		}
		for i, name := range []string{"p50", "p99"} {
			p.atMost(fmt.Sprintf("echo with naps, %s, %s by Workerman's %s ms", m.name, name, p.mean(sums[onWorkerman][i]/1000)), sums[onPushd][i]/sums[onWorkerman][i], "x", 1.2)
		}
	}
	return nil
}

// phpReloads: new code in PHP again and again, under echoes, rooms, comers and goers.
func (p *promises) phpReloads() error {
	return p.serving(onPushd, phpRun{part: "relay", count: 2}, func(s phpServer) error {
		reports := filepath.Join(p.dir, "reports")
		n := p.Int("connections")
		r, _, err := p.report("reload", "--url", s.url, "--idle", strconv.Itoa(n-n/5), "--echoes", strconv.Itoa(n/5-200), "--channels", "2", "--members", "100",
			"--publish-rate", "0", "--slow", "0", "--times", strconv.Itoa(p.Int("times")), "--every", "200ms", "--exec", s.cmd+" reload --json >> '"+reports+"'")
		if err != nil {
			return err
		}
		pauses, err := scriptPauses(reports)
		if err != nil {
			return err
		}
		for _, kind := range []string{"closed", "loss", "duplicate", "reorder", "corrupt", "refused"} {
			faults, _ := r.Numbers.Get("faults_" + kind)
			p.atMost(fmt.Sprintf("%d reloads of PHP, messages or connections: %s", p.Int("times"), kind), faults, "", 0)
		}
		p.atLeast("… each in both processes", float64(len(pauses)), "", float64(2*p.Int("times")))
		p.atMost("… pause of a process, p99; median "+short(pauses[len(pauses)/2])+" ms", pauses[len(pauses)*99/100], "ms", 50)
		return nil
	})
}

// scriptPauses are those of PHP's processes in the reports of reloads, in order of length.
func scriptPauses(file string) (ms []float64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	for d := json.NewDecoder(f); ; {
		var o struct {
			Slots []struct {
				Scripts []struct {
					Pause float64 `json:"pause_ms"`
				}
			}
		}
		if err := d.Decode(&o); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the reports of reload: %w", err)
		}
		for _, slot := range o.Slots {
			for _, script := range slot.Scripts {
				ms = append(ms, script.Pause)
			}
		}
	}
	if len(ms) == 0 {
		return nil, errors.New("no reload told of a pause of PHP")
	}
	slices.Sort(ms)
	return ms, nil
}
