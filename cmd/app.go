package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/config"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitMisuse = 2
)

// misuse is an error of the command line itself.
type misuse struct{ error }

func misusef(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// silent is a failure that has been told already.
var errTold = errors.New("told")

// call is one run of a command.
type call struct {
	program *Program
	flags   *cli.Context
	out     io.Writer
	err     io.Writer
}

// verb is a command's code.
type verb func(c *call) error

// execute obeys a command line and returns the exit code. What could not be printed
// has failed, whatever else was done.
func (p *Program) execute(args []string, out, errOut io.Writer) int {
	o := &output{Writer: out}
	code := p.obey(args, o, errOut)
	if code != exitOK || o.err == nil {
		return code
	}
	return p.report(fmt.Errorf("it is done, but its output is lost: %w", o.err), false, out, errOut)
}

func (p *Program) obey(args []string, out, errOut io.Writer) int {
	if len(args) > 0 && args[0] == "php" && p.script == nil && !p.own() {
		return p.php(args[1:], out, errOut)
	}
	app := p.app(out, errOut)
	args = arrange(args, app.Commands)
	if len(args) == 0 {
		app.Run([]string{p.Name, "--help"})
		return exitMisuse
	}
	return p.report(app.Run(append([]string{p.Name}, args...)), wantsJSON(args), out, errOut)
}

// report prints the error of a command and returns the exit code.
func (p *Program) report(err error, asJSON bool, out, errOut io.Writer) int {
	var m misuse
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errTold):
		return exitFailed
	case p.ready != nil:
		sayWhyNot(p.ready, err)
		return exitFailed
	case errors.As(err, &m):
		fmt.Fprintf(errOut, "%s: %s\n", p.Name, cleanLines(err.Error()))
		return exitMisuse
	}
	if asJSON {
		writeJSON(out, jsonError(err))
	}
	fmt.Fprintf(errOut, "%s: %s\n", p.Name, cleanLines(err.Error()))
	return exitFailed
}

// jsonError is the object that stands for an error under --json.
func jsonError(err error) any {
	var own json.Marshaler
	if errors.As(err, &own) {
		return own
	}
	o := map[string]any{"ok": false, "error": err.Error()}
	var list config.Errors
	if errors.As(err, &list) {
		o["errors"] = strings.Split(list.Error(), "\n")
	}
	return o
}

func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, cleanJSON(b.String()))
	return err
}

// app describes the command line.
func (p *Program) app(out, errOut io.Writer) *cli.App {
	app := &cli.App{
		Name:            p.Name,
		Usage:           "push server: keeps connections, runs handlers, reloads",
		HelpName:        p.typed(),
		UsageText:       p.typed() + " COMMAND [flags]",
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          out,
		ErrWriter:       errOut,
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    p.usageError,
		Action: func(c *cli.Context) error {
			return p.noCommand(c.Args().First(), c.App.Commands)
		},
	}
	for _, c := range p.commands() {
		c.HideHelpCommand = true
		c.OnUsageError = p.usageError
		app.Commands = append(app.Commands, c)
	}
	return app
}

// noCommand is the error of a verb that does not exist.
func (p *Program) noCommand(verb string, commands []*cli.Command) error {
	known := map[string]bool{}
	for _, c := range commands {
		if !c.Hidden {
			known[c.Name] = true
		}
	}
	if p.isPHP(verb) {
		return misusef("there is no command %q: did you mean `%s php %s start`?", verb, p.typed(), shellWord(verb))
	}
	if near := config.Nearest(verb, known); near != "" {
		return misusef("there is no command %q: did you mean `%s %s`?%s", verb, p.typed(), near, p.phpOwn())
	}
	return misusef("there is no command %q (`%s help` lists them)", verb, p.typed())
}

func (p *Program) usageError(c *cli.Context, err error, _ bool) error {
	_, flag, _ := strings.Cut(err.Error(), "not defined: ")
	if hint := p.otherFlag(c.Command.Name, flag); hint != "" {
		return misuse{errors.New(hint)}
	}
	return misusef("%v (`%s --help` lists the flags)%s", err, c.Command.HelpName, p.phpOwn())
}

// otherFlag says what to type in the place of a flag that a command of
// Workerman has, or that another one of ours has.
func (p *Program) otherFlag(command, flag string) string {
	switch {
	case flag == "-d" && (command == "status" || command == "connections"):
		return fmt.Sprintf("%s has no -d: `%s %s --watch` shows it again every second", command, p.typed(), command)
	case flag == "-d":
		return fmt.Sprintf("%s has no -d: only start and restart go to the background", command)
	case flag == "-g" && command == "reload":
		return "reload has no -g: every reload keeps its clients"
	case flag == "-g":
		return fmt.Sprintf("%s has no -g: stop and restart can wait for their clients", command)
	}
	return ""
}

// command makes a command with the flags that all have.
func (p *Program) command(name, usage, args string, do verb, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: args,
		Flags: slices.Concat(flags, p.phpFlags(name), commonFlags()),
		Action: func(c *cli.Context) error {
			most := len(strings.Fields(args))
			least := most - strings.Count(args, "[")
			if n := c.Args().Len(); n < least || n > most {
				if most == 0 {
					if p.isPHP(c.Args().First()) {
						return misusef("the verb of a PHP program stands behind its file: `%s php %s %s`", p.typed(), shellWord(c.Args().First()), name)
					}
					return misusef("%s takes no arguments, there is %q%s", name, c.Args().First(), p.phpOwn())
				}
				return misusef("usage: %s %s %s, and not with %s", p.typed(), name, args, counted(n, "argument", "arguments"))
			}
			return do(&call{program: p, flags: c, out: c.App.Writer, err: c.App.ErrWriter})
		},
	}
}

func commonFlags() []cli.Flag {
	return []cli.Flag{
		name("config", "read the config from `FILE`", "c"),
		name("runtime-dir", "the master's lock and sockets are in `DIR`"),
		&cli.BoolFlag{Name: "json", Usage: "answer in JSON"},
	}
}

// name is a flag that names something. An empty one is most often a variable of a
// script that was not set: who asked for some would get all.
func name(flag, usage string, aliases ...string) *cli.StringFlag {
	return &cli.StringFlag{Name: flag, Aliases: aliases, Usage: usage, Action: func(_ *cli.Context, value string) error {
		return named(flag, value)
	}}
}

// names is a flag that may be given several times, and names something each time.
func names(flag, usage string) *cli.StringSliceFlag {
	return &cli.StringSliceFlag{Name: flag, Usage: usage, Action: func(_ *cli.Context, values []string) error {
		return named(flag, values...)
	}}
}

func named(flag string, values ...string) error {
	if slices.Contains(values, "") {
		return misusef("--%s is empty: leave it out, or name one", flag)
	}
	return nil
}

// json reports whether the answer is for a machine.
func (c *call) json() bool { return c.flags.Bool("json") }

// source is where the command line says that the config is.
func (c *call) source() config.Source {
	return c.program.source(c.flags.String("config"), c.flags.String("runtime-dir"))
}

// config reads the config or fails.
func (c *call) config() (*config.Config, error) {
	cfg, err := c.program.load(c.source())
	if err != nil {
		return nil, invalid(err)
	}
	return cfg, nil
}

// invalid introduces the mistakes of a config.
func invalid(err error) error {
	var list config.Errors
	if errors.As(err, &list) && len(list) == 1 {
		return fmt.Errorf("config is not valid: %w", err)
	}
	return fmt.Errorf("config is not valid:\n%w", err)
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := fileOf(w)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
