package cmd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// attributesOf starts a process of that user, who may listen below 1024 as far as we
// may: a unit gives that to him.
func attributesOf(cred *syscall.Credential) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGKILL}
	head, caps := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&head, &caps[0]); err == nil && caps[0].Permitted&(1<<unix.CAP_NET_BIND_SERVICE) != 0 {
		a.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	}
	return a
}
