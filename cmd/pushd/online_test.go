package main_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestOnlineOverProcessesAndAReload binds clients of both processes to users and
// asks who is online, before and after the processes are replaced.
func TestOnlineOverProcessesAndAReload(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: reloadConfig})
	crowd(t, s, "/echo")
	slots := map[int]int{}
	for i, c := range listing(t, s, "") {
		uid := any(42) // in both processes
		if slots[c.Slot]++; slots[c.Slot] > 1 {
			uid = "only of slot " + string(rune('0'+c.Slot))
		}
		if status, answer := s.Post("/v1/bind", map[string]any{"connection": c.ID, "uid": uid}); status != http.StatusOK {
			t.Fatalf("bind %d: %d %v", i, status, answer)
		}
	}
	want := map[string]int{"42": 2, "only of slot 0": 1, "only of slot 1": 1}
	online := func() {
		t.Helper()
		var got struct {
			Online   map[string]int
			Complete bool
		}
		pushdtest.Eventually(t, "every process answers", func() bool {
			got.Online = nil
			body := map[string]any{"uids": []any{42, "only of slot 0", "only of slot 1", "nobody"}}
			status, err := call(s, http.DefaultClient, http.MethodPost, "/v1/online", body, &got)
			if err != nil || status != http.StatusOK {
				t.Fatalf("online: %d %v", status, err)
			}
			return got.Complete
		})
		if !maps.Equal(got.Online, want) {
			t.Errorf("online: %v, want %v", got.Online, want)
		}
	}
	online()
	if r := reload(t, s); !r.OK || r.Moved != 4 {
		t.Fatalf("reload: %+v", r)
	}
	online()
}
