package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// TestRecoverExample presses the button of examples/recover, behind which a page
// has no network for 5 s, while another one talks.
func TestRecoverExample(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(pushdtest.Root(t), "examples/recover/pushd.toml"))
	must(t, err)
	s := pushdtest.Start(t, pushdtest.Options{Package: "examples/recover", Env: []string{"PUSHD_DRAIN=0s"}, Config: strings.ReplaceAll(string(config), "8095", "{{port}}")})
	b, url := openBrowser(t), fmt.Sprintf("http://127.0.0.1:%d/", s.Port)
	here, there := b.open(t, url), b.open(t, url)
	const heard = `Number(document.getElementById("heard").textContent)`
	for _, tb := range []*tab{here, there} {
		tb.until(heard + ` > 4`)
	}
	here.eval(`document.getElementById("drop").click()`)
	here.until(`document.getElementById("state").textContent === "away"`)
	there.until(fmt.Sprintf("%s > %v + 4", heard, there.eval(heard)))
	here.until(`/^[1-9]\d* messages came later$/.test(document.getElementById("state").textContent)`)
	here.until(fmt.Sprintf("%s > %v + 4", heard, here.eval(heard)))
	for _, tb := range []*tab{here, there} {
		if n := tb.text("faults"); n != "0" {
			t.Errorf("%s messages are missing, twice or out of order", n)
		}
		tb.noTroubles()
	}
}
