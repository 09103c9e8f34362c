package cmd

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/protocol/script"
)

// A PHP program has arguments of its own behind "--", and where no verb of ours is said,
// from the first word on that is none: `php artisan websocket:serve`.

// phpArguments takes them out of the words behind the file.
func (p *Program) phpArguments(words []string) (ours, own []string) {
	if i := slices.Index(words, "--"); i >= 0 {
		if verb, _ := splitCommand(words[:i]); p.takesArguments(verb) {
			return words, nil // they are the verb's
		}
		return words[:i], words[i+1:]
	}
	if verb, _ := splitCommand(words); verb != "" && p.isVerb(verb) {
		return words, nil
	}
	flags := p.startFlags()
	for i := 0; i < len(words); i++ {
		if !isFlag(words[i]) || !flags[strings.TrimLeft(words[i], "-")] {
			return words[:i], words[i:]
		}
		if takesNext(words[i], commonFlags()) {
			i++
		}
	}
	return words, nil
}

// isVerb reports whether a word is a command of ours, or one misspelt.
func (p *Program) isVerb(word string) bool {
	known := map[string]bool{"help": true}
	for _, c := range p.commands() {
		known[c.Name] = true
	}
	return known[word] || config.Nearest(word, known) != ""
}

// takesArguments reports whether a verb has arguments, as publish.
func (p *Program) takesArguments(verb string) bool {
	return slices.ContainsFunc(p.commands(), func(c *cli.Command) bool { return c.Name == verb && c.ArgsUsage != "" })
}

// startFlags are those that may stand where no verb is said.
func (p *Program) startFlags() map[string]bool {
	known := map[string]bool{"help": true, "h": true, "version": true, "v": true, "g": true, "watch-files": true, strings.TrimPrefix(phpRootFlag, "--"): true}
	for _, c := range p.commands() {
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				known[name] = known[name] || c.Name == "start"
			}
		}
	}
	return known
}

// words are a file and the arguments of the program as one word, which forPHP takes apart.
func (f *phpFile) words(file string) string {
	if len(f.args) == 0 {
		return file
	}
	return script.Line(append([]string{file}, f.args...))
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// phpOwn says how a word gets to the program.
func (p *Program) phpOwn() string {
	if p.script == nil {
		return ""
	}
	return " (arguments of the program's own stand behind --)"
}
