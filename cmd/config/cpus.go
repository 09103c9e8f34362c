package config

import (
	"bufio"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// CPUs returns how many worker processes this machine or container can run at
// once: the smaller of the processors that the process may use and the CPU
// quota of its cgroup, rounded up.
func CPUs() int {
	n := runtime.NumCPU() // honours the affinity mask
	if q := quota(os.DirFS("/")); q > 0 && q < float64(n) {
		n = int(q)
		if float64(n) < q {
			n++
		}
	}
	return max(n, 1)
}

// quota returns the tightest CPU quota of the cgroups that this process is in,
// in processors, 0 = none.
func quota(root fs.FS) float64 {
	tightest := 0.0
	add := func(q float64) {
		if q > 0 && (tightest == 0 || q < tightest) {
			tightest = q
		}
	}
	for _, m := range memberships(root) {
		// A container sees its own cgroup as the root of the mount, whatever
		// path /proc names: the walk up to "." meets it in either case.
		for dir := m.dir; ; dir = path.Dir(dir) {
			add(m.read(root, path.Join(m.mount, dir)))
			if dir == "." {
				break
			}
		}
	}
	return tightest
}

type membership struct {
	mount, dir string // relative to the root of the file system, and to mount
	read       func(root fs.FS, dir string) float64
}

// memberships reads /proc/self/cgroup: "0::/path" is version 2,
// "4:cpu,cpuacct:/path" version 1.
func memberships(root fs.FS) (out []membership) {
	f, err := root.Open("proc/self/cgroup")
	if err != nil {
		return nil
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		parts := strings.SplitN(sc.Text(), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir := strings.TrimPrefix(path.Clean("/"+parts[2]), "/")
		if dir == "" {
			dir = "."
		}
		if parts[0] == "0" && parts[1] == "" {
			out = append(out, membership{"sys/fs/cgroup", dir, quotaV2})
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			if controller == "cpu" {
				out = append(out,
					membership{"sys/fs/cgroup/cpu", dir, quotaV1},
					membership{"sys/fs/cgroup/" + parts[1], dir, quotaV1})
			}
		}
	}
	return out
}

// quotaV2 reads cpu.max: "max 100000" or "150000 100000".
func quotaV2(root fs.FS, dir string) float64 {
	raw, err := fs.ReadFile(root, path.Join(dir, "cpu.max"))
	if err != nil {
		return 0
	}
	q, period, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	return ratio(q, period)
}

// quotaV1 reads cpu.cfs_quota_us, -1 for none, and cpu.cfs_period_us.
func quotaV1(root fs.FS, dir string) float64 {
	q, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return 0
	}
	period, err := fs.ReadFile(root, path.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return 0
	}
	return ratio(strings.TrimSpace(string(q)), strings.TrimSpace(string(period)))
}

func ratio(quota, period string) float64 {
	q, err := strconv.ParseUint(quota, 10, 62)
	if err != nil {
		return 0
	}
	p, err := strconv.ParseUint(period, 10, 62)
	if err != nil || p == 0 {
		return 0
	}
	return float64(q) / float64(p)
}
