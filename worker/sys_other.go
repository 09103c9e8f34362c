//go:build !linux

package worker

import (
	"os"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// On other systems the package compiles, for editors and vet; Serve fails.

var origin0 = time.Now()

func clock() time.Duration { return time.Since(origin0) }

func reopenStderr(*os.File) error  { return reactor.ErrLinux }
func processorTime() time.Duration { return 0 }
