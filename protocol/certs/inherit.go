package certs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pushd/pushd/protocol/control"
)

// Inherit makes a store of what a process has got from the master at its start,
// whose descriptors it closes.
func Inherit(copies []control.Copy) (*Store, error) {
	s := NewStore()
	var errs []error
	for _, c := range copies {
		f := os.NewFile(uintptr(c.FD), c.Name)
		errs = append(errs, s.take(c, f))
		f.Close()
	}
	return s, errors.Join(errs...)
}

// Obey takes in what came with a message of control.TypeCopy and returns the
// answer. The files stay the caller's.
func (s *Store) Obey(m control.Message, files []*os.File) control.Message {
	answer := control.Message{Type: control.TypeAnswer, ID: m.ID}
	var c control.Copy
	err := json.Unmarshal(m.Body, &c)
	switch {
	case err != nil:
	case len(files) != 1:
		err = errors.New("no descriptor came with it")
	default:
		err = s.take(c, files[0])
	}
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}

func (s *Store) take(c control.Copy, f *os.File) error {
	if f == nil {
		return fmt.Errorf("the master gave no copy of %s", c.Name)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, control.CopyMax))
	defer clear(data)
	if err != nil {
		return fmt.Errorf("read the copy of %s: %w", c.Name, err)
	}
	return s.Put(c.Name, c.Kind, data)
}
