package compare

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Million opens very many idle connections to a pushd of its own, publishes
// once to all, reloads and publishes again. The result goes to out, progress
// to log; the error says whether anything was lost.
func Million(ctx context.Context, o Options, out string, stdout, log io.Writer) error {
	dir, err := os.MkdirTemp("", "pushbench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o.Loops = Workers(o.Idle)
	o.Each = o.Idle/o.Loops + 100 // evenly, and with room to move
	c := &comparison{Options: o, dir: dir}
	_, _ = fmt.Fprintf(log, "%d connections to %d workers\n", o.Idle, o.Loops)
	p, err := start(ctx, c, servers[0], "")
	if err != nil {
		return err
	}
	defer p.stop()
	bench := exec.CommandContext(ctx, o.Bench, with(p.back(p), "idle", "--label", pushd,
		"-n", fmt.Sprint(o.Idle), "--pid", fmt.Sprint(p.PID()), "-m", "1", "--window", "16",
		"--settle", "60s", "--hold", o.Hold.String(), "--stall", "2m",
		"--exec", p.reload(), "--exec-timeout", "10m", "-o", out)...)
	bench.Stdout, bench.Stderr = stdout, log
	bench.Cancel = func() error { return bench.Process.Signal(os.Interrupt) }
	bench.WaitDelay = time.Minute
	return bench.Run()
}
