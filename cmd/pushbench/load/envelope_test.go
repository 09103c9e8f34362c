package load

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestEnvelope(t *testing.T) {
	var e envelope
	if _, ok := e.open([]byte(`{}`)); ok {
		t.Error("an envelope was opened before any was learned")
	}
	e.learn([]byte(`{"event":"a","data":"a\"b"}`), `a"b`)
	e.learn([]byte(`{"event":"twice","data":"twice"}`), "twice")
	if e.head != nil {
		t.Errorf("learned %q from data that do not stand there once, as they are", e.head)
	}
	e.learn([]byte(`{"event":"bench","channel":"c","data":"first"}`), "first")
	for in, want := range map[string]string{
		`{"event":"bench","channel":"c","data":"second"}`:       "second",
		`{"event":"bench","channel":"c","data":""}`:             "",
		`{"event":"other","channel":"c","data":"second"}`:       "no",
		`{"event":"bench","channel":"c","data":"second"} `:      "no",
		`{"event":"bench","channel":"c","data":"sec\u006fnd"}`:  "no",
		`{"event":"bench","channel":"c","data":"x","data":"y"}`: "no",
		`{"event":"bench","channel":"c","data":"`:               "no",
		``: "no",
	} {
		if got, ok := e.open([]byte(in)); ok != (want != "no") || ok && string(got) != want {
			t.Errorf("%s: %q, %v, want %s", in, got, ok, want)
		}
	}
}

// Whatever an envelope opens, a decoder reads alike, if it reads it at all: our
// messages are ASCII without control characters.
func FuzzEnvelope(f *testing.F) {
	const head, tail = `{"event":"bench","channel":"c","data":"`, `","x":1}`
	f.Add("second")
	f.Add(`x","data":"y`)
	f.Fuzz(func(t *testing.T, middle string) {
		var e envelope
		e.learn([]byte(head+"first"+tail), "first")
		got, ok := e.open([]byte(head + middle + tail))
		var said struct{ Data string }
		if ok && utf8.ValidString(middle) && json.Unmarshal([]byte(head+middle+tail), &said) == nil && said.Data != string(got) {
			t.Errorf("%q was opened as %q, and decodes as %q", middle, got, said.Data)
		}
	})
}
