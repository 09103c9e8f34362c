//go:build !linux

package master

import (
	"os"
	"syscall"
)

func openAt(*os.File, string) (*os.File, *syscall.Stat_t, error) { return nil, nil, errLinuxOnly }
func readLink(*os.File) (string, error)                          { return "", errLinuxOnly }

// OpenFile is for Linux.
func (d *Folder) OpenFile(string, int, os.FileMode) (*os.File, error) { return nil, errLinuxOnly }

// Place is for Linux.
func (d *Folder) Place(name string) string { return name }

// Remove is for Linux.
func (d *Folder) Remove(string) error { return errLinuxOnly }

func (d *Folder) socket(string) (int, error)        { return -1, errLinuxOnly }
func (d *Folder) fd() int                           { return -1 }
func (d *Folder) openFor(string, os.FileMode) error { return errLinuxOnly }
func (d *Folder) rename(string, string) error       { return errLinuxOnly }
func (d *Folder) link(string, string) error         { return errLinuxOnly }
