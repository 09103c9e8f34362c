package script

import (
	"errors"
	"fmt"
	"syscall"
)

// brokenPipe makes one error of the ways in which a socket says that the other
// end is closed.
func brokenPipe(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%w: %w", errPipe, err)
	}
	return err
}
