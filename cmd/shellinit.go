package cmd

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

//go:embed shell/*
var shellScripts embed.FS

// shells are those that shell-init knows.
var shells = []string{"bash", "zsh", "fish"}

// shellInit prints the functions by which a shell completes our commands and,
// for a program named pushd, lets people type its verbs although shells have a
// builtin of that name: eval "$(pushctl shell-init)".
func shellInit(c *call) error {
	shell := c.flags.Args().First()
	if shell == "" {
		shell = callingShell()
	}
	script, err := shellScripts.ReadFile("shell/init." + shell)
	if err != nil {
		return misusef("shell-init knows %s, not %q: name one, as in `%s shell-init bash`",
			strings.Join(shells, ", "), shell, c.program.typed())
	}
	t, err := template.New(shell).Parse(string(script))
	if err != nil {
		return fmt.Errorf("shell-init: %w", err)
	}
	return t.Execute(c.out, c.program.shellWords())
}

// callingShell is the shell that waits for this process, else the user's.
func callingShell() string {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	name := strings.TrimSpace(string(comm))
	for _, s := range shells {
		if name == s {
			return s
		}
	}
	return filepath.Base(os.Getenv("SHELL"))
}

// shellWords are what the scripts in shell/ are filled with.
type shellWords struct {
	Run      string      // how the program is run, for a shell
	Names    []string    // what is completed
	Builtin  bool        // the program's name is a builtin of shells
	ByPath   bool        // Run is a path: pushctl may not be in PATH
	Commands []shellVerb // in the order of the help text
}

// shellVerb is a command as the completion needs it.
type shellVerb struct{ Name, Usage, Flags string }

// Targets are the commands that fish completes.
func (w shellWords) Targets() []string {
	if w.Builtin {
		return []string{secondName, builtinName}
	}
	return w.Names
}

// Verbs are the names of all commands, with sep between.
func (w shellWords) Verbs(sep string) string {
	names := make([]string, len(w.Commands))
	for i, v := range w.Commands {
		names[i] = v.Name
	}
	return strings.Join(names, sep)
}

func (p *Program) shellWords() shellWords {
	w := shellWords{Run: "command " + shellWord(p.typed()), Names: []string{p.Name}, Builtin: p.Name == builtinName}
	if w.Builtin {
		w.Names = []string{secondName}
	}
	if path, err := programPath(); err == nil && (byPath(p.typed()) || p.typed() == builtinName) {
		w.Run, w.ByPath = shellWord(path), true
	}
	for _, c := range p.commands() {
		if !c.Hidden {
			w.Commands = append(w.Commands, shellVerb{c.Name, c.Usage, flagWords(c.Flags)})
		}
	}
	return w
}

// Names of this program that the shells have a say in.
const (
	builtinName = "pushd"   // of bash, zsh and fish: `pushd start` at a prompt never reaches us
	secondName  = "pushctl" // a link to the program
)

func flagWords(flags []cli.Flag) string {
	var words []string
	for _, f := range flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				words = append(words, "--"+n)
			}
		}
	}
	return strings.Join(words, " ")
}
