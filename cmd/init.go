package cmd

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed init.toml
var initConfig string

// initialize writes a commented config with secrets of its own. A file that is
// there is never replaced.
func initialize(c *call) error {
	path := c.flags.Args().First()
	if path == "" {
		path = "pushd.toml"
	}
	text, err := newConfig()
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if path == "-" {
		_, err := fmt.Fprint(c.out, text)
		return err
	}
	if err := createFile(path, text); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("init: %s exists: name another file, or print the config with `%s init -`", path, c.program.typed())
		}
		return fmt.Errorf("init: %w", err)
	}
	if c.json() {
		return writeJSON(c.out, map[string]any{"ok": true, "config": path})
	}
	fmt.Fprintf(c.out, "wrote %s, with secrets of its own (mode 0600)\nnext: %s start%s\n", path, c.program.typed(), configFlag(path))
	return nil
}

// newConfig fills the template: each {{secret}} is another one.
func newConfig() (string, error) {
	t, err := template.New("init.toml").Funcs(template.FuncMap{"secret": newSecret}).Parse(initConfig)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, nil)
	return b.String(), err
}

// newSecret is 128 random bits in hexadecimal digits.
func newSecret() (string, error) {
	var b [16]byte
	_, err := rand.Read(b[:])
	return hex.EncodeToString(b[:]), err
}

// createFile makes a file that only its owner reads, never in the place of
// another.
func createFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// configFlag is the flag by which commands find a config, "" for the one that
// they look for by themselves.
func configFlag(path string) string {
	if filepath.Clean(path) == "pushd.toml" {
		return ""
	}
	return " -c " + shellWord(path)
}
