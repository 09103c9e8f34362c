package cmd

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// keyName is the file in data_dir that holds the API's generated key.
const keyName = "api.key"

// dataFiles are the files and folders in data_dir: this one, and what the
// services of the broker process keep.
var dataFiles = []string{keyName, "webhooks", "acme", "cached-events.json", "keeper-heard.json", "keeper-peers.json", "keeper-nodes.json", "history", "history-rules.json"}

// brokerOwner is the user whom data_dir may belong to beside root and this one.
func brokerOwner(cfg *config.Config) (uids []int) {
	if cfg.Broker.User == "" {
		return nil
	}
	if uid, err := lookUpUID(cfg.Broker.User); err == nil {
		uids = append(uids, int(uid))
	}
	return uids
}

// maxKey is the longest key file in bytes.
const maxKey = 64 << 10

// apiKey returns the configured API key, else the one of the key file, which the
// first start writes. In both cases a data_dir of a stranger is refused: more
// than the key is kept there. It may still be that of former, the user of the
// process before.
func (s brokerSpec) apiKey(former int) (string, error) {
	made := os.MkdirAll(s.DataDir, 0o700)
	if made != nil && s.APIKey == "" {
		return "", fmt.Errorf("create data_dir: %w (data_dir, or PUSHD_DATA_DIR in the environment, names another; or set key in [api])", made)
	}
	dir, err := master.OpenFolder(s.DataDir, former)
	if made != nil && errors.Is(err, fs.ErrNotExist) {
		return s.APIKey, nil // whoever needs it will say so
	}
	if err != nil {
		return "", fmt.Errorf("data_dir: %w", err)
	}
	defer dir.Close()
	if s.APIKey != "" {
		return s.APIKey, nil
	}
	return generatedKey(dir)
}

func generatedKey(dir *master.Folder) (string, error) {
	key, err := readKey(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key, err = writeKey(dir)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return readKey(dir)
	}
	return key, err
}

// readKey reads the key file, if nobody else could have written or read it.
func readKey(dir *master.Folder) (string, error) {
	f, err := dir.Open(keyName)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !dir.Owns(info) {
		return "", fmt.Errorf("%s belongs to another user: remove it, and a new key is made at the next start", f.Name())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is open to others (mode %04o): chmod 600 it, or remove it if they may have seen the key, and a new one is made at the next start",
			f.Name(), info.Mode().Perm())
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(raw))
	if key == "" {
		return "", fmt.Errorf("%s is empty: remove it, or write a key into it", f.Name())
	}
	return key, nil
}

// writeKey makes a key of 256 random bits. The file appears whole or not at
// all.
func writeKey(dir *master.Folder) (string, error) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails
	key := base64.RawURLEncoding.EncodeToString(bits[:])
	if err := dir.Create(keyName, []byte(key+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write API key: %w", err)
	}
	return key, nil
}
