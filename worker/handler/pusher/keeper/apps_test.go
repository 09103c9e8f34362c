package keeper

import (
	"strings"
	"testing"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

func init() { worker.OwnChannels("taken", "the rooms of a test") }

func TestApps(t *testing.T) {
	app := func(id, key string) wire.App {
		a := wire.DefaultApp()
		a.ID, a.Key, a.Secret = id, key, "hunter2"
		return a
	}
	// Of an id the first counts: the config goes before the program.
	options := append(Options([]wire.App{app("1", "a")}), Options([]wire.App{app("1", "b"), app("2", "c")})...)
	apps, err := Apps(options)
	if err != nil || len(apps) != 2 || apps[0].Key != "a" || apps[1].ID != "2" || apps[1].MaxEvent != wire.DefaultApp().MaxEvent {
		t.Errorf("apps %+v, %v", apps, err)
	}
	if err := (worker.ServiceOptions{Service: options, "of nobody": {worker.Options("x")}}).Check(); err != nil {
		t.Errorf("check: %v", err)
	}
	for _, tc := range []struct {
		options []worker.Options
		want    string
	}{
		{Options([]wire.App{app("1", "a"), app("2", "a")}), `app "2": another one has its id or key`},
		{Options([]wire.App{app("taken", "a")}), `app "taken": the id taken is taken: taken:NAME are the rooms of a test`},
		{Options([]wire.App{app("1", "")}), "needs id, key and secret"},
		{[]worker.Options{worker.Options(`{"id":"1","colour":"red"}`)}, `unknown field "colour"`},
	} {
		err := worker.ServiceOptions{Service: tc.options}.Check()
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %q and no secret", err, tc.want)
		}
		var k Keeper
		if k.Start(&worker.ServiceEnv{Options: tc.options}) == nil {
			t.Errorf("a keeper starts in spite of %v", err)
		}
	}
}
