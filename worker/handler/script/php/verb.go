package php

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A program of Workerman finds in its arguments what its users type: "start", and "-d".
// All others find their own alone: to `(int)$argv[1]` the word would be port 0. The file
// says which it is only when it comes to runAll() or run(), and may have read $argv by
// then, so there is a guess by what the file names, and where the run shows that it was
// wrong, the other one is tried.

var (
	namesWorkerman = regexp.MustCompile(`(?i)\b(workerman|webman)\b`)
	namesOthers    = regexp.MustCompile(`(?i)\b(ratchet|react|open_?swoole|swoole)|\bIoServer\b`)
)

// guess says whether the program looks for Workerman's verb: by its text, and where that names
// nobody, by whether the user has given it arguments of its own, as to a console.
func (c *Command) guess() bool {
	text, _ := os.ReadFile(c.File)
	if namesWorkerman.Match(text) {
		return true
	}
	return len(c.Args) == 0 && !namesOthers.Match(text)
}

// words are the arguments behind the file.
func (c *Command) words() []string {
	var words []string
	if c.verb {
		words = append(words, "start")
		if c.Daemon {
			words = append(words, "-d")
		}
	}
	return append(words, c.Args...)
}

// name is of groups that the program gives none: two runs of one file with other arguments
// may be in one config. Where it has none it is the file's, which PHP knows.
func (c *Command) name() string {
	words := slices.DeleteFunc(slices.Clone(c.Args), func(w string) bool { return strings.HasPrefix(w, "-") })
	if len(words) == 0 {
		return ""
	}
	words = append([]string{strings.TrimSuffix(filepath.Base(c.File), ".php")}, words...)
	return strings.Trim(notNamed.ReplaceAllString(strings.Join(words, "-"), "-"), "-")
}

var notNamed = regexp.MustCompile(`[^A-Za-z0-9]+`)

// fits reports whether a program has come to a plan with the arguments of its kind.
func (c *Command) fits(s *said) bool {
	return s.Error == "" && (s.Kind == "workerman") == (c.verb || slices.Contains(c.Args, "start")) || s.Opens != ""
}

// attempt is a run of the program for its plan.
type attempt struct {
	*said
	err  error
	verb bool
	out  bytes.Buffer // what it has printed
}

func (c *Command) attempt(ctx context.Context, verb bool) *attempt {
	a := attempt{verb: verb}
	c.verb = verb
	a.said, a.err = c.asked(ctx, &a.out)
	return &a
}

// Plan runs the program for what it would listen on. What it prints goes to out.
// The error has PHP's own words.
func (c *Command) Plan(ctx context.Context, out io.Writer) (*Program, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	a := c.attempt(ctx, c.guess())
	if a.err == nil && !c.fits(a.said) {
		other := c.attempt(ctx, !a.verb)
		if other.err == nil && (c.fits(other.said) || a.Error != "" && other.Error == "") {
			a = other
		}
	}
	c.verb = a.verb
	out.Write(a.out.Bytes())
	if a.err != nil {
		return nil, a.err
	}
	c.off = a.off()
	return c.judge(a.said)
}
