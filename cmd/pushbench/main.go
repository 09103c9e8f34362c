// Command pushbench loads a WebSocket server, checks every byte that comes
// back, and measures what the work costs the server. The server may be pushd
// or any other that speaks WebSocket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/fleet"
)

// errFaulty ends a run that was carried out and found something wrong; the
// report has said what.
var errFaulty = errors.New("something was lost, repeated, reordered, damaged or closed")

// errUsage marks a mistake on the command line.
var errUsage = errors.New("usage")

func main() {
	if len(os.Args) == 2 && os.Args[1] == fleet.AgentCommand {
		if err := fleet.RunAgent(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: 0 all well, 1 failed or found a fault, 2 misuse.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{
		Name:            "pushbench",
		Usage:           "load a WebSocket server, check every byte, measure what it costs",
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return fmt.Errorf("%w: %w", errUsage, err)
		},
		Commands: []*cli.Command{
			idleCommand(), connectCommand(), echoCommand(), fanoutCommand(),
			mixCommand(), verifyCommand(), reloadCommand(), reloadsCommand(), presenceCommand(), recoverCommand(), tokensCommand(), sseCommand(), returnsCommand(), tlsCommand(), phpCommand(), compareCommand(), millionCommand(), plotCommand(),
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = app.OnUsageError
	}
	switch err := app.RunContext(ctx, args); {
	case err == nil:
		return 0
	case errors.Is(err, errFaulty):
		return 1
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "pushbench: %v; see pushbench COMMAND --help\n", err)
		return 2
	default:
		_, _ = fmt.Fprintf(stderr, "pushbench: %v\n", err)
		return 1
	}
}
