package master

import (
	"errors"
	"os"
	"path/filepath"
)

// The master goes where it was started, as that was typed, before each plan: a
// deploy may have led the name to another folder since, whose program, config
// and files the next generation is to see.

// arrive changes to the working directory that the options name. back undoes
// it, for a plan that comes to nothing.
func (m *master) arrive() (back func()) {
	here, err := os.Open(".")
	if m.o.Dir == "" || err != nil {
		return func() {}
	}
	if err := os.Chdir(m.o.Dir); err != nil {
		m.log.Warn("working directory not entered: relative paths count from where it was", "error", err)
	}
	return func() {
		_ = here.Chdir() // it may be gone
		here.Close()
	}
}

// WorkingDir is the working directory by the name that it was entered by, which
// symbolic links may be part of; "" if it is gone.
func WorkingDir() string {
	dir, err := os.Getwd() // heeds $PWD
	if errors.Is(err, os.ErrNotExist) || !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}
