package config

import (
	"testing"
	"testing/fstest"
)

func TestQuota(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, tc := range []struct {
		name string
		fs   fstest.MapFS
		want float64
	}{
		{"nothing", fstest.MapFS{}, 0},
		{"v2 without limit", fstest.MapFS{
			"proc/self/cgroup":      file("0::/app\n"),
			"sys/fs/cgroup/cpu.max": file("max 100000\n"), "sys/fs/cgroup/app/cpu.max": file("max 100000\n")}, 0},
		{"v2 of a parent", fstest.MapFS{
			"proc/self/cgroup":            file("0::/slice/app\n"),
			"sys/fs/cgroup/slice/cpu.max": file("150000 100000\n"), "sys/fs/cgroup/slice/app/cpu.max": file("max 100000\n")}, 1.5},
		{"v2 tightest", fstest.MapFS{
			"proc/self/cgroup":            file("0::/slice/app\n"),
			"sys/fs/cgroup/slice/cpu.max": file("400000 100000\n"), "sys/fs/cgroup/slice/app/cpu.max": file("50000 100000\n")}, 0.5},
		{"v2 in a container", fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/cpu.max": file("200000 100000\n")}, 2},
		{"v1", fstest.MapFS{
			"proc/self/cgroup":                              file("5:memory:/x\n4:cpu,cpuacct:/docker/abc\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":    file("300000\n"),
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":   file("100000\n"),
			"sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": file("-1\n")}, 3},
		{"nonsense", fstest.MapFS{
			"proc/self/cgroup": file("what\n0::/../..\n"), "sys/fs/cgroup/cpu.max": file("1 0\n")}, 0},
	} {
		if got := quota(tc.fs); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if CPUs() < 1 {
		t.Error("no CPU")
	}
}
