package cmd

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// key returns the configured API key, else the one of the key file, which the
// first start writes.
func (a apiSpec) key() (string, error) {
	if a.Key != "" {
		return a.Key, nil
	}
	key, err := readKey(a.KeyFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(a.KeyFile), 0o700); err != nil {
		return "", fmt.Errorf("create data_dir: %w (choose another, or set key in [api])", err)
	}
	key, err = writeKey(a.KeyFile)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return readKey(a.KeyFile)
	}
	return key, err
}

func readKey(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(raw))
	if key == "" {
		return "", fmt.Errorf("%s is empty: remove it, or write a key into it", file)
	}
	return key, nil
}

// writeKey makes a key of 256 random bits. The file appears whole or not at
// all.
func writeKey(file string) (string, error) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails
	key := base64.RawURLEncoding.EncodeToString(bits[:])
	tmp, err := os.CreateTemp(filepath.Dir(file), ".api.key-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write API key: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(key + "\n")
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Link(tmp.Name(), file) // fails if there is one already
	}
	if err != nil {
		return "", fmt.Errorf("write API key: %w", err)
	}
	return key, nil
}
