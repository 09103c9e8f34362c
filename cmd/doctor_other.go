//go:build !linux

package cmd

import "syscall"

func attributesOf(cred *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: cred}
}
