//go:build !linux

package control

import "errors"

func socketpair() ([2]int, error) {
	return [2]int{}, errors.New("pushd runs on Linux only")
}
