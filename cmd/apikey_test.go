package cmd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/worker/brokerd"
)

// TestKeysOfStrangers: a key that others have written or could have read is none,
// neither for the server nor for the commands that ask it.
func TestKeysOfStrangers(t *testing.T) {
	cases := []struct {
		says    string
		prepare func(dir, key string) error
		asRoot  bool
	}{
		{"", func(dir, key string) error { return nil }, false},
		{"written to by everybody", func(dir, key string) error { return os.Chmod(dir, 0o777) }, false},
		{"is open to others", func(dir, key string) error { return os.Chmod(key, 0o604) }, false},
		{"is open to others", func(dir, key string) error { return os.Chmod(key, 0o620) }, false},
		{"symbolic links", func(dir, key string) error { return errors.Join(os.Rename(key, key+"2"), os.Symlink(key+"2", key)) }, false},
		{"belongs to user 64002", func(dir, key string) error { return os.Chown(dir, 64002, 64002) }, true},
		{"belongs to another user", func(dir, key string) error { return os.Chown(key, 64002, 64002) }, true},
	}
	for _, c := range cases {
		if c.asRoot && os.Geteuid() != 0 {
			continue // giving files away is for root
		}
		dir := filepath.Join(t.TempDir(), "data")
		key := filepath.Join(dir, keyName)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(key, []byte("known\n"), 0o600), c.prepare(dir, key)); err != nil {
			t.Fatal(err)
		}
		servers, errServer := brokerSpec{Settings: brokerd.Settings{DataDir: dir}}.apiKey(0)
		asked, errClient := keyOf(&config.Config{DataDir: dir})
		if c.says == "" {
			if servers != "known" || asked != "known" {
				t.Errorf("a good key: %q, %v and %q, %v", servers, errServer, asked, errClient)
			}
			continue
		}
		for _, err := range []error{errServer, errClient} {
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", c.says, err)
			}
		}
	}
}

// TestDataDirIsLookedAt even where the key stands in the config: webhooks wait
// in it.
func TestDataDirIsLookedAt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	spec := brokerSpec{Settings: brokerd.Settings{DataDir: dir}, APIKey: "configured"}
	if key, err := spec.apiKey(0); key != "configured" || err != nil {
		t.Errorf("%q, %v", key, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data_dir: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, keyName)); err == nil {
		t.Error("a key was generated beside a configured one")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := spec.apiKey(0); err == nil {
		t.Error("a folder for everybody is taken")
	}
	nowhere := brokerSpec{Settings: brokerd.Settings{DataDir: "/proc/none/data"}, APIKey: "configured"}
	if key, err := nowhere.apiKey(0); key != "configured" || err != nil {
		t.Errorf("no data_dir can be made and none is needed: %q, %v", key, err)
	}
	nowhere.APIKey = ""
	if _, err := nowhere.apiKey(0); err == nil || !strings.Contains(err.Error(), "create data_dir") {
		t.Errorf("no data_dir can be made: %v", err)
	}
}

func TestGeneratedKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	first, err := brokerSpec{Settings: brokerd.Settings{DataDir: dir}}.apiKey(0)
	if err != nil || len(first) != 43 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := (brokerSpec{Settings: brokerd.Settings{DataDir: dir}}).apiKey(0); again != first || err != nil {
		t.Errorf("%q, %v", again, err)
	}
	left, _ := os.ReadDir(dir)
	if info, err := os.Stat(filepath.Join(dir, keyName)); err != nil || info.Mode().Perm() != 0o600 || len(left) != 1 {
		t.Errorf("%v, %v; the folder holds %v", info, err, left)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://hooks.example/T0/SECRET?t=SECRET": "https://hooks.example/[redacted]",
		"https://hooks.example/?SECRET":            "https://hooks.example/[redacted]",
		"https://hooks.example#SECRET":             "https://hooks.example/[redacted]",
		"https://SECRET@hooks.example:8443/":       "https://redacted@hooks.example:8443/",
		"nats://u:SECRET@h:4222,nats://h2:4222":    "nats://redacted@h:4222,nats://h2:4222",
		"nats://u:SEC/RET@h":                       "[redacted]",
		"nats://u:SEC,RET@h":                       "[redacted]",
		"unix:///run/api.sock":                     "unix:///run/api.sock",
		"https://example.com":                      "https://example.com",
		"*.example.com":                            "*.example.com",
	} {
		if got := redactURLs(in); got != want {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
	raw, err := redactJSON([]byte(`{"headers":{"Cookie":"SECRET","X":""},"limits":{"max_headers":100},"dsn":"SECRET","Headers":{"a":["SECRET"]}}`))
	if text := string(raw); err != nil || strings.Contains(text, "SECRET") || !strings.Contains(text, `"Cookie"`) || !strings.Contains(text, `"max_headers":100`) {
		t.Errorf("%s, %v", raw, err)
	}
}
