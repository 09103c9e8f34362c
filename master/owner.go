package master

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// socketOwner finds a process that has the port open: pid 0 if none can be
// seen, as is usual for processes of other users.
func socketOwner(network string, port int) (pid int, name string) {
	if network == "unix" {
		return 0, ""
	}
	inodes := map[string]bool{}
	for _, table := range []string{network, network + "6"} {
		f, err := os.Open("/proc/net/" + table)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if inode, ok := socketOnPort(s.Text(), network, port); ok {
				inodes["socket:["+inode+"]"] = true
			}
		}
		f.Close()
	}
	if len(inodes) == 0 {
		return 0, ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && inodes[target] {
			dir := filepath.Dir(filepath.Dir(link))
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid, programOf(pid)
		}
	}
	return 0, ""
}

// socketOnPort reads a line of /proc/net/tcp or udp, whose fields are slot,
// local address, remote address, state, queues, timer, retransmits, uid,
// timeout and inode.
func socketOnPort(line, network string, port int) (inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || network == "tcp" && f[3] != "0A" { // 0A = listening
		return "", false
	}
	_, hex, ok := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	return f[9], ok && err == nil && int(n) == port
}
