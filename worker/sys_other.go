//go:build !linux

package worker

import "time"

// On other systems the package compiles, for editors and vet; Serve fails.

func processorTime() time.Duration { return 0 }

func hideMemory() error { return nil }
