package cmd

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// output is what a command prints to. It remembers the first error, so that no
// command has to look: whoever runs it does when it has ended.
type output struct {
	io.Writer
	err error
}

// Write implements io.Writer. A reader that has left, as `head` does, has seen what
// it wanted to.
func (o *output) Write(p []byte) (n int, err error) {
	n, err = o.Writer.Write(p)
	if o.err == nil && !errors.Is(err, syscall.EPIPE) {
		o.err = err
	}
	return n, err
}

// fileOf is the file that w leads to.
func fileOf(w io.Writer) (f *os.File, ok bool) {
	if o, is := w.(*output); is {
		return fileOf(o.Writer)
	}
	f, ok = w.(*os.File)
	return f, ok
}
