package cmd

import (
	"os"
	"path/filepath"
	"strings"
)

// typed is what a person types to reach this program, so that a hint can be
// copied: `pushctl start` to who has typed pushctl, `./bin/pushd start` to who
// stands in the repository. Default: Name.
func (p *Program) typed() string {
	if p.script != nil {
		plain := *p
		plain.script = nil
		return plain.typed() + " " + p.script.title()
	}
	switch {
	case p.calledAs == "":
		return p.Name
	case underGoRun(p.calledAs):
		return "go run ."
	}
	return p.calledAs
}

// calledAs is the first word of this process's command line, "" if there is
// none.
func calledAs() string {
	if len(os.Args) == 0 {
		return ""
	}
	return os.Args[0]
}

// shellWord is a word that a shell takes as it is.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/._-+=:@%", r) || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// byPath reports whether the program was called by a path, not by a name that
// the shell looked up.
func byPath(typed string) bool { return filepath.Base(typed) != typed }
