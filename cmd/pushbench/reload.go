package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/load"
)

// tail is how long after a command has returned pauses still count as its own.
const tail = 500 * time.Millisecond

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "standing load while a command runs again and again, with the pauses that clients see",
		Flags: append(standingFlags(mass{echo: 1000, echoRate: 2000, channels: 2, members: 100, talkRate: 10, pushRate: 20, churn: 5, connectRate: 50, slow: 10}),
			&cli.StringFlag{Name: "exec", Usage: "`COMMAND` for the shell"},
			&cli.IntFlag{Name: "times", Value: 5, Usage: "how `OFTEN`"},
			&cli.DurationFlag{Name: "every", Value: time.Second, Usage: "`PAUSE` between two of them"},
			&cli.DurationFlag{Name: "exec-timeout", Value: time.Minute, Usage: "give one up `AFTER`"}),
		Action: func(c *cli.Context) error {
			if err := need(c, "exec"); err != nil {
				return err
			}
			return standing(c, executions)
		},
	}
}

// executions runs the command so many times and keeps the latencies meanwhile
// apart. What the machine adds to them a control tells, in the same seconds.
func executions(b *bench) error {
	took, late := load.NewHistogram(), load.NewHistogram()
	for i := range b.Int("times") {
		if err := b.sleep(b.Duration("every")); err != nil {
			return err
		}
		b.progress.say(fmt.Sprintf("execution %d of %d", i+1, b.Int("times")))
		if err := b.Mark(true); err != nil {
			return err
		}
		calm := load.StartControl(late)
		started := time.Now()
		if err := b.execute(); err != nil {
			b.report.problem("execution %d: %v", i+1, err)
		}
		_ = took.RecordValue(min(int64(time.Since(started)), took.HighestTrackableValue()))
		err := b.sleep(tail)
		calm()
		if err != nil {
			return err
		}
		if err := b.Mark(false); err != nil {
			return err
		}
	}
	b.report.Numbers.percentiles("execution", took)
	b.report.Numbers.percentiles("control", late)
	return b.sleep(b.Duration("every"))
}

func (b *bench) execute() error {
	command := exec.Command("sh", "-c", b.String("exec"))
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(b.Duration("exec-timeout"), func() { _ = command.Process.Kill() })
	// A daemon left behind may hold the output open.
	command.WaitDelay = time.Second
	err := command.Wait()
	if !timer.Stop() {
		err = errors.New("took longer than --exec-timeout")
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		text := output.Bytes()
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(text[max(len(text)-500, 0):]))
	}
	return nil
}
