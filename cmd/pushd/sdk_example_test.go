package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestPusherExample opens the page of examples/pusher as two users, with its own
// few lines of client and with the real pusher-js in their place.
func TestPusherExample(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Package: "examples/pusher", Env: []string{"PUSHD_DRAIN=0s"}})
	own := fmt.Sprintf("http://127.0.0.1:%d", s.Port)
	for name, site := range map[string]string{"own client": own, "pusher-js": withPusherJS(t, own)} {
		t.Run(name, func(t *testing.T) {
			b := openBrowser(t)
			ann, bob := b.open(t, site+"/?user=ann"), b.open(t, site+"/?user=bob")
			list := func(id string) string {
				return `[...document.querySelectorAll("#` + id + ` li")].map((li) => li.textContent).join("|")`
			}
			ann.until(list("members") + `.split("|").sort().join("|") === "ann|bob"`)
			bob.until(list("members") + `.split("|").sort().join("|") === "ann|bob"`)
			talk := func(n int) {
				t.Helper()
				ann.eval(`document.getElementById("text").focus()`)
				ann.say(fmt.Sprint("hi ", n))
				bob.until(list("said") + fmt.Sprintf(`.endsWith("ann: hi %d")`, n))
				ann.eval(`document.querySelector("#order button").click()`)
				bob.until(fmt.Sprintf(`document.querySelectorAll("#orders li").length === %d`, n))
			}
			talk(1)
			moved(t, s, 2)
			talk(2)
			if got := ann.eval(`document.querySelectorAll("#orders li").length`); got != 0.0 {
				t.Errorf("ann sees %v of bob's orders", got)
			}
			for _, tb := range []*tab{ann, bob} {
				if state := tb.text("state"); state != "connected" {
					t.Errorf("the page says %q", state)
				}
				tb.noTroubles()
			}
		})
	}
}

// withPusherJS is the site with pusher-js for its channels.js.
func withPusherJS(t *testing.T, site string) string {
	t.Helper()
	script := filepath.Join(sdk(t), "node_modules/pusher-js/dist/web/pusher.min.js")
	u, err := url.Parse(site)
	must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/channels.js" {
			http.ServeFile(w, r, script)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
	return front.URL
}

// TestLaravelExample starts pushd with the config of examples/laravel and
// connects laravel-echo with the values of its .env files, through the auth
// endpoint in PHP.
func TestLaravelExample(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pushdtest.Root(t), "examples/laravel")
	config, err := os.ReadFile(filepath.Join(dir, "pushd.toml"))
	must(t, err)
	s := pushdtest.Start(t, pushdtest.Options{
		Config: strings.NewReplacer("0.0.0.0:8080", "127.0.0.1:{{port}}", `name   = "push"`, "name = \"push\"\ncount = 2").Replace(string(config)),
	})
	auth := servePHP(t, filepath.Join(dir, "auth.php"))
	for _, file := range []string{".env.reverb", ".env.pusher"} {
		t.Run(file, func(t *testing.T) { scene(t, s, "laravel.mjs", filepath.Join(dir, file), auth) })
	}
}

// servePHP serves a script with PHP's own server and returns its URL.
func servePHP(t *testing.T, script string) string {
	t.Helper()
	bin, err := exec.LookPath("php")
	if err != nil {
		t.Fatal("php is not installed: run make deps")
	}
	addr := pushdtest.FreeAddr(t)
	c := exec.Command(bin, "-S", addr, script)
	must(t, c.Start())
	t.Cleanup(func() {
		c.Process.Kill()
		_ = c.Wait() // killed
	})
	pushdtest.Eventually(t, "PHP serves", func() bool {
		res, err := http.Get("http://" + addr)
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	return "http://" + addr
}
