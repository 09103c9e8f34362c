//go:build !linux

package master

import "os"

func socketpair() (a, b *os.File, err error) { return nil, nil, errLinuxOnly }

func sever(*os.File) {}
