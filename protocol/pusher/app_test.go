package pusher

import (
	"strings"
	"testing"
)

func TestCheckApps(t *testing.T) {
	app := func(id, key string) App {
		a := DefaultApp()
		a.ID, a.Key, a.Secret = id, key, "hunter2"
		return a
	}
	hooks := func(urls ...string) App {
		a := app("1", "a")
		for _, u := range urls {
			a.Webhooks = append(a.Webhooks, Webhook{URL: "http://x/hunter2/" + u})
		}
		return a
	}
	if err := CheckApps([]App{hooks("a", "b"), app("2", "b")}); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct {
		name string
		apps []App
		want string
	}{
		{"same id", []App{app("1", "a"), app("1", "b")}, "another one"},
		{"same key", []App{app("1", "a"), app("2", "a")}, "another one"},
		{"no key", []App{app("1", "")}, "needs id, key"},
		{"colon", []App{app("1:2", "a")}, "id \"1:2\""},
		{"long", []App{app(strings.Repeat("x", 129), "a")}, "up to 128"},
		{"same webhook", []App{hooks("a", "b", "a")}, "same url"},
		{"nothing", []App{{}}, "needs id"},
	} {
		err := CheckApps(tc.apps)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}
