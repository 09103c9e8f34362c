package compare

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushbench/proc"
)

// Bytes that an idle connection needs on a machine that is both its ends:
// about 3.9 KB of kernel for each, and the programs' own.
const bytesPerConnection = 10_500

// Needs names the settings of this machine that do not allow so many
// connections between two of its programs, each with the command that would.
func Needs(connections int) (missing []string) {
	for _, s := range []struct {
		key  string
		want int
	}{
		{"fs.file-max", 2*connections + 50_000},
		{"fs.epoll.max_user_watches", 2*connections + 10_000},
		{"net.core.somaxconn", min(connections, 4096)},
		{"kernel.pid_max", 8192},
	} {
		if have, ok := sysctl(s.key); ok && have < s.want {
			missing = append(missing, fmt.Sprintf("%s is %d: sysctl -w %s=%d", s.key, have, s.key, s.want))
		}
	}
	missing = append(missing, ports()...)
	missing = append(missing, conntrack(connections)...)
	if k, err := proc.ReadKernel(); err == nil && k.Available < int64(connections)*bytesPerConnection {
		missing = append(missing, fmt.Sprintf("%.1f GB of memory are free: %d connections, both ends here, take %.1f GB",
			float64(k.Available)/1e9, connections, float64(connections)*bytesPerConnection/1e9))
	}
	return missing
}

// ports says whether an agent's 16 addresses have room for its connections.
func ports() []string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return nil
	}
	if f := strings.Fields(string(text)); len(f) == 2 {
		low, _ := strconv.Atoi(f[0])
		if high, _ := strconv.Atoi(f[1]); high-low < 4000 {
			return []string{fmt.Sprintf("net.ipv4.ip_local_port_range is %s: sysctl -w net.ipv4.ip_local_port_range='32768 60999'", strings.TrimSpace(string(text)))}
		}
	}
	return nil
}

// conntrack limits connections only where it tracks any.
func conntrack(connections int) []string {
	count, tracks := sysctl("net.netfilter.nf_conntrack_count")
	limit, _ := sysctl("net.netfilter.nf_conntrack_max")
	if want := connections + 10_000; tracks && count > 0 && limit < want {
		return []string{fmt.Sprintf("net.netfilter.nf_conntrack_max is %d: sysctl -w net.netfilter.nf_conntrack_max=%d", limit, want)}
	}
	return nil
}

func sysctl(key string) (value int, ok bool) {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
	if err != nil {
		return 0, false
	}
	value, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return value, err == nil
}

// spareFiles is what a worker's descriptors are for besides connections.
const spareFiles = 1000

// Workers is how many processes so many connections need on the server's side.
func Workers(connections int) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		limit.Max = 20_000
	}
	each := int(min(limit.Max, 1<<20)) - spareFiles
	return max((connections+each-1)/max(each, 1), 1)
}
