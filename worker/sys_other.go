//go:build !linux

package worker

import "time"

// On other systems the package compiles, for editors and vet; there Serve fails.

func processorTime() time.Duration { return 0 }
