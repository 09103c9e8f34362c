package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/BurntSushi/toml"
)

// maxFile is the longest config file in bytes.
const maxFile = 1 << 20

// Source says where to read a config from. Its zero value is the process's own
// surroundings.
type Source struct {
	File       string // from -c; "" = search
	RuntimeDir string // from --runtime-dir; wins over everything
	Name       string // "" = "pushd"; names the default folders
	LogFile    string // default log file, relative to the working directory
	Program    bool   // a program declares its workers itself: [[worker]] is an error
	Alone      bool   // no file is searched for: what is in the usual places is of another program

	Getenv func(string) string // nil = os.Getenv
	Root   string              // prefix of /etc and /run, for tests
}

func (s *Source) env(key string) string {
	if s.Getenv != nil {
		return s.Getenv(key)
	}
	return os.Getenv(key)
}

// name is the name of the default folders.
func (s *Source) name() string {
	if s.Name == "" {
		return "pushd"
	}
	return s.Name
}

// find returns the file to read, "" when there is none, and what was looked at.
func (s *Source) find() (file string, searched []string, err error) {
	if s.File != "" {
		file, err = filepath.Abs(s.File)
		return file, []string{file}, err
	}
	if s.Alone {
		return "", nil, nil
	}
	searched = []string{s.Root + "/etc/pushd/pushd.toml"}
	if here, err := filepath.Abs("pushd.toml"); err == nil { // else the working directory is gone
		searched = append([]string{here}, searched...)
	}
	for _, f := range searched {
		if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
			return f, searched, nil // unreadable is an error for the reader, not a reason to go on
		}
	}
	return "", searched, nil
}

// Load reads the config. An error of type Errors lists what is wrong in it; the
// Config is then returned too, as far as it could be read, so that a command
// can still find the master that runs on an older version of it.
func Load(s Source) (*Config, error) {
	file, searched, err := s.find()
	if err != nil {
		return nil, fmt.Errorf("find config: %w", err)
	}
	var text []byte
	if file != "" {
		if text, err = readFile(file); err != nil {
			c := parse(s, "", nil, &reader{}) // the folders by environment and default
			c.File, c.Searched = file, searched
			return c, Errors{fmt.Errorf("read config: %w", err)}
		}
	}
	c, err := Parse(s, file, text)
	c.Searched = searched
	return c, err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is longer than 1 MiB", name)
	}
	return text, err
}

// Parse makes a Config of the text of file, which relative paths count from;
// file "" means that there is none. Errors are as those of Load.
func Parse(s Source, file string, text []byte) (*Config, error) {
	r := &reader{file: file, env: s.env}
	var values map[string]any
	if err := toml.Unmarshal(text, &values); err != nil {
		r.errs = append(r.errs, syntaxError(file, err))
		values = salvage(text)
	} else {
		r.lines = keyLines(string(text))
	}
	c := parse(s, file, values, r)
	if len(r.errs) > 0 {
		return c, r.errs
	}
	return c, nil
}

var runtimeDirLine = regexp.MustCompile(`(?m)^[ \t]*runtime_dir[ \t]*=[ \t]*("[^"\n]*"|'[^'\n]*')`)

// salvage finds runtime_dir in a file that is not TOML any more: the master
// that it was right for still has to be found.
func salvage(text []byte) map[string]any {
	m := runtimeDirLine.FindSubmatch(text)
	if m == nil {
		return nil
	}
	quoted := string(m[1])
	dir, err := strconv.Unquote(quoted)
	if quoted[0] == '\'' || err != nil {
		dir = quoted[1 : len(quoted)-1]
	}
	return map[string]any{"runtime_dir": dir}
}
