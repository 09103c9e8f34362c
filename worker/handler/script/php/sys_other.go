//go:build !linux

package php

import "syscall"

// attributes: what it has started is of its group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
