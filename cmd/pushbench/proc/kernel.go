package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Kernel is what the kernel of the whole machine holds.
type Kernel struct {
	Slab      int64 // bytes in small objects, sockets among them
	Available int64 // bytes that programs could still have
	Sockets   int64 // TCP sockets of this network namespace
}

// ReadKernel reads it from /proc.
func ReadKernel() (k Kernel, err error) {
	slab, err := keyed("/proc/meminfo", "Slab:")
	if err != nil {
		return k, err
	}
	available, err := keyed("/proc/meminfo", "MemAvailable:")
	if err != nil {
		return k, err
	}
	k.Slab, k.Available = slab*1024, available*1024
	k.Sockets, err = sockets()
	return k, err
}

// sockets reads "TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1".
func sockets() (int64, error) {
	const file = "/proc/net/sockstat"
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 8 && f[0] == "TCP:" {
			return strconv.ParseInt(f[8], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line for TCP", file)
}
