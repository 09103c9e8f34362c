// Package php is the PHP side of pushd: files that PHP runs before a program, so
// that programs written for Workerman, Ratchet and Swoole serve pushd's
// connections as they are. What they and a worker say to each other is
// protocol/script.
package php

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed shim/*.php
var files embed.FS

const folder = "shim"

// Calls are PHP's functions that open sockets or processes. A plan run has them
// switched off, see shim/calls.php.
const Calls = "stream_socket_server,socket_bind,socket_listen,socket_create_listen,pcntl_fork"

// OwnCalls are PHP's functions that mean something else in a handler process, see
// shim/own_calls.php. From PHP 8.1 on it has them switched off for that.
const OwnCalls = "spl_object_id,spl_object_hash,property_exists,sleep,usleep,is_uploaded_file,move_uploaded_file,posix_getppid"

// Role is what a run of PHP is for.
type Role string

// Roles.
const (
	Plan    Role = "plan"    // say what would be listened on, as JSON on descriptor 3
	Handler Role = "handler" // serve a worker on descriptor 3
)

// Write puts the PHP files below dir, in a folder that is named by what is in
// them, and returns the one that PHP is to run first. Files of other versions
// stay, since processes may run from them.
func Write(dir string) (first string, err error) {
	names, err := files.ReadDir(folder)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, n := range names {
		text, err := files.ReadFile(folder + "/" + n.Name())
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", n.Name(), len(text), text)
	}
	to := filepath.Join(dir, "php-"+hex.EncodeToString(sum.Sum(nil))[:16])
	first = filepath.Join(to, "prepend.php")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", fmt.Errorf("write the PHP files: %w", err)
	}
	for _, n := range names {
		if err := writeFile(filepath.Join(to, n.Name()), folder+"/"+n.Name()); err != nil {
			return "", fmt.Errorf("write the PHP files: %w", err)
		}
	}
	return first, nil
}

// writeFile writes one of the files.
func writeFile(path, from string) error {
	text, err := files.ReadFile(from)
	if err != nil {
		return err
	}
	return replace(path, text)
}

// replace writes a file as a whole or not at all: another process may be reading
// it.
func replace(path string, text []byte) error {
	if have, err := os.ReadFile(path); err == nil && string(have) == string(text) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// memory is the limit of a program that nobody has given one.
const memory = "256M"

// Args are the arguments of PHP before the program's file, for a run in that
// role; first is what Write has returned.
func Args(first string, role Role) []string {
	args := []string{
		"-d", "auto_prepend_file=" + first,
		"-d", "pushd.role=" + string(role),
		"-d", "display_errors=stderr", "-d", "html_errors=0", "-d", "log_errors=0",
		"-d", "memory_limit=" + memory, // with none, PHP ends without a word
	}
	if role == Plan {
		args = append(args, "-d", "disable_functions="+Calls)
	}
	return args
}
