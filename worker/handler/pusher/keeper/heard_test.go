package keeper

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pushd/pushd/worker"
)

// TestHeard: a keeper that stopped tells the next one which departures are no
// news; what that one has loaded it removes when it is in service, since later
// it would be wrong.
func TestHeard(t *testing.T) {
	dir := t.TempDir()
	old := &Keeper{settled: true}
	lost := &lease{instance: 8, next: 50}
	old.leases.byName = map[string]*lease{"a": {instance: 7, next: 100, synced: true}, "b": lost}
	if err := old.saveHeard(dir); err != nil {
		t.Fatal(err)
	}
	k := &Keeper{env: &worker.ServiceEnv{DataDir: dir}}
	if err := k.loadHeard(dir); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what     string
		instance uint64
		o        op
		want     bool
	}{
		{"was told", 7, op{Kind: opLeave, N: 99, Joined: 3}, true},
		{"was not", 7, op{Kind: opLeave, N: 100, Joined: 3}, false},
		{"came long before", 7, op{Kind: opLeave, N: 101}, false},
		{"came and went unheard", 7, op{Kind: opLeave, N: 101, Joined: 100}, true},
		{"sign-out that was told", 7, op{Kind: opSignout, N: 99, Joined: 98}, true},
		{"sign-out that was not", 7, op{Kind: opSignout, N: 100}, false},
		{"of an earlier version", 7, op{Kind: opLeave}, false},
		{"no departure", 7, op{Kind: opCount, N: 5}, false},
		{"of a client that had lost something", 8, op{Kind: opLeave, N: 9}, false},
	} {
		if got := k.told(&lease{instance: tc.instance}, &tc.o); got != tc.want {
			t.Errorf("%s: %v", tc.what, got)
		}
	}
	k.forgetHeard()
	if _, err := os.Stat(filepath.Join(dir, heardFile)); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	unsettled := &Keeper{}
	if err := unsettled.saveHeard(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, heardFile)); !os.IsNotExist(err) {
		t.Errorf("a keeper that was not settled has saved: %v", err)
	}
}
