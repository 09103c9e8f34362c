package api

import (
	"strings"
	"testing"
)

func TestCheckBind(t *testing.T) {
	local := []string{"127.0.0.1:2347", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "unix:///run/x", "/run/x", "udp://127.0.0.1:1", "tcp://[::1]:1"}
	public := []string{":2347", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1", "udp://0.0.0.0:1", "tcp://:1", "localhost.example.com:1", ""}
	for _, listen := range local {
		if err := CheckBind("[api]", listen, false, false); err != nil {
			t.Error(err)
		}
	}
	for _, listen := range public {
		for _, x := range []struct {
			key, insecure bool
			want          string // "" = allowed
		}{
			{true, true, ""}, {true, false, "add insecure = true (PUSHD_API_INSECURE=true in the environment) to [api]"},
			{false, true, `add key = "…" to [api]`}, {false, false, `add key = "…" and insecure = true to [api]`},
		} {
			err := CheckBind("[api]", listen, x.key, x.insecure)
			if (err == nil) != (x.want == "") || err != nil && !strings.HasSuffix(err.Error(), x.want) {
				t.Errorf("%q key=%v insecure=%v: %v", listen, x.key, x.insecure, err)
			}
		}
	}
	if err := CheckBind("[[ingest]]", ":1", true, false); err == nil || strings.Contains(err.Error(), "PUSHD_") {
		t.Errorf("ingest has no variables: %v", err)
	}
}
