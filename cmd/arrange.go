package cmd

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange brings a command line into the order that urfave/cli can read: the
// command, its flags, "--", its arguments. People write `publish news hi
// --json` and `pushd -c x.toml start` too.
func arrange(args []string, commands []*cli.Command) []string {
	name, rest := splitCommand(args)
	switch name {
	case "":
		return aliasOf(rest)
	case "help":
		if len(rest) > 0 {
			return []string{rest[0], "--help"}
		}
		return []string{"--help"}
	}
	flags := commonFlags()
	for _, c := range commands {
		if c.HasName(name) {
			flags = c.Flags
		}
	}
	options, arguments := splitFlags(rest, flags)
	out := append([]string{name}, options...)
	if len(arguments) > 0 {
		out = append(append(out, "--"), arguments...)
	}
	return out
}

// aliasOf is a command line without a command.
func aliasOf(args []string) []string {
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-v") {
		return []string{"version"}
	}
	return args
}

// splitCommand takes the command's name out of the line.
func splitCommand(args []string) (name string, rest []string) {
	common := commonFlags()
	for i := 0; i < len(args); i++ {
		if !isFlag(args[i]) {
			return args[i], append(append([]string{}, args[:i]...), args[i+1:]...)
		}
		if takesNext(args[i], common) {
			i++
		}
	}
	return "", args
}

func splitFlags(args []string, known []cli.Flag) (options, arguments []string) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return options, append(arguments, args[i+1:]...)
		case !isFlag(args[i]):
			arguments = append(arguments, args[i])
		default:
			options = append(options, args[i])
			if takesNext(args[i], known) && i+1 < len(args) {
				i++
				options = append(options, args[i])
			}
		}
	}
	return options, arguments
}

func isFlag(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// takesNext reports whether the flag's value is the next argument.
func takesNext(arg string, known []cli.Flag) bool {
	name := strings.TrimLeft(arg, "-")
	for _, f := range known {
		for _, n := range f.Names() {
			if n == name {
				_, isBool := f.(*cli.BoolFlag)
				return !isBool
			}
		}
	}
	return false
}

// wantsJSON reports whether --json is among the flags.
func wantsJSON(args []string) bool {
	for _, a := range args {
		switch a {
		case "--json", "-json", "--json=true":
			return true
		case "--":
			return false
		}
	}
	return false
}
