package service_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/service"
)

// picky is a service that checks its options and does nothing.
type picky struct{ service.Service }

func (picky) Check(options []service.Options) error {
	for _, o := range options {
		var x struct {
			Size int `json:"size"`
		}
		if err := o.Decode(&x); err != nil {
			return err
		}
		if x.Size < 0 {
			return errors.New("size is negative")
		}
	}
	return nil
}

func panics(fn func()) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = p.(string)
		}
	}()
	fn()
	return ""
}

func init() { // once, however often the tests run
	service.Register("test.picky", func() service.Service { return picky{} })
	service.Register("test.also", func() service.Service { return picky{} })
}

func TestRegister(t *testing.T) {
	if names := service.Names(); !slices.IsSorted(names) || !slices.Contains(names, "test.picky") {
		t.Errorf("names: %q", names)
	}
	if service.New("test.picky") == nil || service.New("test.nobody") != nil {
		t.Error("New makes what is registered, and nothing else")
	}
	for want, fn := range map[string]func(){
		"registered twice": func() { service.Register("test.picky", func() service.Service { return nil }) },
		"needs a name":     func() { service.Register("", func() service.Service { return nil }) },
		"a function":       func() { service.Register("test.nothing", nil) },
	} {
		if got := panics(fn); !strings.Contains(got, want) {
			t.Errorf("panic %q, want %q", got, want)
		}
	}

	all := service.All{"test.picky": {service.Options(`{"size":1}`), nil}}
	if err := all.Check(); err != nil {
		t.Error(err)
	}
	all["test.picky"] = append(all["test.picky"], service.Options(`{"size":-1}`))
	if err := all.Check(); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("a service's own check: %v", err)
	}
	if err := (service.All{"test.nobody": {service.Options(`{`)}}).Check(); err != nil {
		t.Errorf("options of nobody: %v", err)
	}
}

func TestOptionsAreKeptAndDecoded(t *testing.T) {
	var list []service.Options
	if err := json.Unmarshal([]byte(`[{"a":1},{}]`), &list); err != nil {
		t.Fatal(err)
	}
	if raw, err := json.Marshal(list); err != nil || string(raw) != `[{"a":1},{}]` {
		t.Errorf("%s %v", raw, err)
	}
	var x struct{ A int }
	if err := list[0].Decode(&x); err != nil || x.A != 1 {
		t.Errorf("%v %v", x, err)
	}
	if err := service.Options(`{"b":1}`).Decode(&x); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("an option that nobody knows: %v", err)
	}
	if err := service.Options(nil).Decode(&x); err != nil {
		t.Error(err)
	}
}

func TestSharedHistory(t *testing.T) {
	for text, want := range map[string]bool{`{"store":"jetstream"}`: true, `{"store":"disk"}`: false, `{`: false} {
		if got := (service.All{"history": {service.Options(text)}}).SharedHistory(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if (service.All{}).SharedHistory() {
		t.Error("without a history")
	}
}
