package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

var known = Names{Apps: Apps{"1": 0, "small": 3}, Groups: func() []string { return []string{"push", "web"} }}

func parse(t testing.TB, verb, body string) ([]worker.Publication, error) {
	t.Helper()
	f, err := Object([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return Parse(verb, f, known, new(Budget))
}

// TestApp: names and data of an app's orders are those of the Pusher protocol.
func TestApp(t *testing.T) {
	for _, tc := range []struct{ verb, body, target, data string }{
		{"publish", `{"app":"1","event":"e","channel":"private-a","data":"x\"y"}`,
			"1:private-a", `{"event":"e","channel":"private-a","data":"x\"y"}`},
		{"publish", `{"app":"1","event":"e","channel":"a","data":{"n":1}}`, "1:a", `{"event":"e","channel":"a","data":"{\"n\":1}"}`},
		{"publish", `{"app":"1","event":"e","channel":"#server-to-user-7","data":1}`,
			"1:#server-to-user-7", `{"event":"e","channel":"#server-to-user-7","data":"1"}`},
		{"send", `{"app":"1","event":"e","uid":"7","data":1}`, "1:7", `{"event":"e","channel":"#server-to-user-7","data":"1"}`},
		{"send", `{"app":"1","event":"e","uid":7,"data":1}`, "1:7", `{"event":"e","channel":"#server-to-user-7","data":"1"}`},
		{"send", `{"app":"1","event":"e","connection":"1.2","data":1}`, "1.2", `{"event":"e","data":"1"}`},
		{"kick", `{"app":"1","uid":"7","reason":"r"}`, "1:7", "r"},
		{"kick", `{"app":"small","uid":"7","reason":"long"}`, "small:7", "long"},
		{"publish", `{"app":"small","event":"e","channel":"a","data":"\n\n\n"}`, "small:a", `{"event":"e","channel":"a","data":"\n\n\n"}`},
		{"kick", `{"uid":"7","reason":"r"}`, "7", "r"},
		{"broadcast", `{"worker":"web","data":"r"}`, "web", "r"},
	} {
		ps, err := parse(t, tc.verb, tc.body)
		if err != nil || len(ps) != 1 || ps[0].Target != tc.target || string(ps[0].Data) != tc.data {
			t.Errorf("%s %s: %+v %v", tc.verb, tc.body, ps, err)
		}
	}
	for _, tc := range []struct{ verb, body, field string }{
		{"publish", `{"event":"e","channel":"a","data":1}`, "app"},
		{"publish", `{"app":"1","channel":"a","data":1}`, "event"},
		{"publish", `{"app":"1","event":"pusher:x","channel":"a","data":1}`, "event"},
		{"publish", `{"app":"1","event":"e","channel":"a:b","data":1}`, "channel"},
		{"publish", `{"app":"1","event":"e","channel":"a","data_base64":"AA=="}`, "data_base64"},
		{"publish", `{"app":"1:2","event":"e","channel":"a","data":1}`, "app"},
		{"publish", `{"app":"","event":"e","channel":"a","data":1}`, "app"},
		{"publish", `{"app":"nobody","event":"e","channel":"a","data":1}`, "app"},
		{"send", `{"app":"nobody","event":"e","uid":"7","data":1}`, "app"},
		{"kick", `{"app":"nobody","uid":"7"}`, "app"},
		{"publish", `{"app":"small","event":"e","channel":"a","data":1234}`, "data"},
		{"send", `{"app":"small","event":"e","uid":"7","data":"éé"}`, "data"},
		{"broadcast", `{"app":"1","event":"e","data":1}`, "app"},
		{"broadcast", `{"worker":"","data":1}`, "worker"},
		{"broadcast", `{"worker":"pusch","data":1}`, "worker"},
		{"join", `{"app":"1","connection":"1.2","channel":"a"}`, "app"},
	} {
		_, err := parse(t, tc.verb, tc.body)
		var e *Error
		if !errors.As(err, &e) || e.Field != tc.field || (e.Cause == UnknownApp) != strings.Contains(tc.body, "nobody") || (e.Cause == TooLong) != strings.Contains(tc.body, "small") || strings.Contains(e.Message, "%!") {
			t.Errorf("%s %s: %v", tc.verb, tc.body, err)
		}
	}
}

// wantTargets checks whom an order is for, and in which order.
func wantTargets(t *testing.T, verb, body, want string) {
	t.Helper()
	ps, err := parse(t, verb, body)
	var targets []string
	for _, p := range ps {
		targets = append(targets, p.Target)
	}
	if got := strings.Join(targets, " "); err != nil || got != want {
		t.Errorf("%s %s: %q %v", verb, body, got, err)
	}
}

// TestWholeNumbersAreIDs: back ends that hold user ids as integers need not
// turn them into strings.
func TestWholeNumbersAreIDs(t *testing.T) {
	for _, tc := range []struct{ verb, body, want string }{
		{"send", `{"uid":42,"data":1}`, "42"},
		{"send", `{"uids":[1,"2",-3,0],"data":1}`, "1 2 -3 0"},
		{"send", `{"uid":123456789012345678901234567890,"data":1}`, "123456789012345678901234567890"},
		{"kick", `{"uid":42}`, "42"},
		{"kick", `{"uids":[42,"42"]}`, "42"},
	} {
		wantTargets(t, tc.verb, tc.body, tc.want)
	}
	for _, verb := range []string{"bind", "unbind"} {
		if ps, err := parse(t, verb, `{"connection":"1.2","uid":7}`); err != nil || string(ps[0].Data) != "7" {
			t.Errorf("%s: %+v %v", verb, ps, err)
		}
	}
	for _, body := range []string{
		`{"uid":4.2,"data":1}`, `{"uid":1e3,"data":1}`, `{"uid":true,"data":1}`, `{"uid":null,"data":1}`, `{"uid":[1],"data":1}`,
		`{"uids":[1,2.5],"data":1}`, `{"uids":{"1":2},"data":1}`, `{"uid":` + strings.Repeat("1", MaxName+1) + `,"data":1}`,
		`{"connection":1,"data":1}`, `{"connections":[1],"data":1}`,
	} {
		if ps, err := parse(t, "send", body); err == nil {
			t.Errorf("%s: taken as %+v", body, ps)
		}
	}
	if ps, err := parse(t, "publish", `{"channel":1,"data":1}`); err == nil {
		t.Errorf("a number as a channel: %+v", ps)
	}
}

// TestNamedOnce: what is ordered for a name that stands twice is done once, in
// the order of first mention, by all verbs.
func TestNamedOnce(t *testing.T) {
	for _, tc := range []struct{ verb, body, want string }{
		{"publish", `{"channels":["b","a","b","c","a"],"data":1}`, "b a c"},
		{"publish", `{"channel":"a","channels":["b","a"],"data":1}`, "a b"},
		{"publish", `{"app":"1","event":"e","channels":["a","a"],"data":1}`, "1:a"},
		{"send", `{"uids":["4","5","4"],"uid":4,"data":1}`, "4 5"},
		{"send", `{"connection":"1.2","connections":["1.1","1.2"],"data":1}`, "1.2 1.1"},
		{"send", `{"uid":"1.1","connection":"1.1","data":1}`, "1.1 1.1"}, // two things of one name
		{"kick", `{"connections":["1.1","1.1"],"uids":["4","4"]}`, "4 1.1"},
	} {
		wantTargets(t, tc.verb, tc.body, tc.want)
	}
	for _, verb := range []string{"join", "leave"} {
		if ps, err := parse(t, verb, `{"connection":"1.1","channel":"a","channels":["b","a"]}`); err != nil || string(ps[0].Data) != `["a","b"]` {
			t.Errorf("%s: %+v %v", verb, ps, err)
		}
	}
	if ps, err := parse(t, "publish", `{"channel":"a","except":["1.1","1.1"],"data":1}`); err != nil || len(ps[0].Except) != 1 {
		t.Errorf("except: %+v %v", ps, err)
	}
	f, err := Object([]byte(`{"uids":["4","4"],"uid":4}`))
	if err != nil {
		t.Fatal(err)
	}
	if uids, err := UIDs(f); err != nil || len(uids) != 1 {
		t.Errorf("online: %q %v", uids, err)
	}
}

// TestCostIsKnownBeforeItIsMade: what a request would put on the bus is refused
// before it takes the memory.
func TestCostIsKnownBeforeItIsMade(t *testing.T) {
	channels := someChannels(MaxTargets)
	control := strings.Repeat(`\u0001`, 128<<10) // six bytes each, in an event again
	except := strings.ReplaceAll(channels, "c", strings.Repeat("x", 180))
	item := `{"op":"publish","app":"1","event":"e","channels":` + someChannels(10) + `,"data":"` + strings.Repeat(`\u0001`, 1600) + `"}`
	wide := `{"op":"publish","channels":` + someChannels(200) + `,"data":"` + strings.Repeat(`x`, 30000) + `"}`
	if len(item) > 1<<20/MaxItems {
		t.Fatal("a hundred of them are over a body")
	}
	for name, tc := range map[string]struct {
		body string
		call func(Fields) error
	}{
		"publish": {`{"app":"1","event":"e","channels":` + channels + `,"data":"` + control + `"}`, verbCall("publish")},
		"send":    {`{"app":"1","event":"e","uids":` + channels + `,"data":"` + control + `"}`, verbCall("send")},
		"except":  {`{"channels":` + channels + `,"except":` + except + `,"data":1}`, verbCall("publish")},
		"batch":   {`{"items":[` + strings.Repeat(wide+",", 4) + wide + `]}`, batchCall},
		"targets": {`{"items":[` + strings.Repeat(item+",", MaxItems) + item + `]}`, batchCall},
		"entries": {`{"channels":[` + strings.Repeat(`1,`, 500_000) + `1],"data":1}`, verbCall("publish")},
		"items":   {`{"items":[` + strings.Repeat(`1,`, 500_000) + `1]}`, batchCall},
	} {
		var before, after runtime.MemStats
		f, err := Object([]byte(tc.body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		runtime.ReadMemStats(&before)
		err = tc.call(f)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: taken", name)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
			t.Errorf("%s: %d MiB to say %v", name, took>>20, err)
		}
	}
}

// someChannels is a list of so many names of four bytes each.
func someChannels(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(`"c%03d"`, i)
	}
	return "[" + strings.Join(names, ",") + "]"
}

func verbCall(verb string) func(Fields) error {
	return func(f Fields) error { _, err := Parse(verb, f, known, new(Budget)); return err }
}

func batchCall(f Fields) error { _, err := Batch(f, known); return err }

// TestBatchSharesOneBudget: many orders that are each within the bounds are not,
// together.
func TestBatchSharesOneBudget(t *testing.T) {
	item := `{"op":"publish","channels":` + someChannels(10) + `,"data":"` + strings.Repeat("x", 300<<10) + `"}`
	for n, want := range map[int]bool{1: true, 5: true, 6: false} {
		f, err := Object([]byte(`{"items":[` + strings.Repeat(item+",", n-1) + item + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		items, err := Batch(f, known)
		var e *Error
		if (err == nil) != want || err == nil && len(items) != n || err != nil && (!errors.As(err, &e) || e.Cause != TooLarge || e.Field != "items") {
			t.Errorf("%d of them: %d items, %v", n, len(items), err)
		}
	}
}

// TestNamesOfEventsCost: an event has its name once for each target, escaped
// perhaps, and what it has counts against the budget to the byte.
func TestNamesOfEventsCost(t *testing.T) {
	const targets = 100
	channels := someChannels(targets)
	for _, event := range []string{"e", strings.Repeat("e", pusher.MaxEventName)} {
		most := MaxBytes/targets - 2*len(event) - eventBytes - 2*len("c000") - len(`""`)
		for n, want := range map[int]bool{most: true, most + 1: false} {
			f, err := Object([]byte(`{"app":"1","event":"` + event + `","channels":` + channels + `,"data":"` + strings.Repeat("x", n) + `"}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Parse("publish", f, known, new(Budget)); (err == nil) != want {
				t.Errorf("an event with %d letters and %d bytes for %d channels: %v", len(event), n, targets, err)
			}
		}
	}
}

func FuzzOrder(f *testing.F) {
	for _, body := range []string{
		`{"channel":"a","data":"x"}`, `{"uids":["1",2],"connections":["1.2"],"data_base64":"AA==","except":"3.4"}`,
		`{"connection":"1.1","code":4000,"reason":"bye"}`, `{"worker":"push","data":{"a":[null]}}`, `{"app":"1","event":"e","channels":["a","#server-to-user-1"],"data":[1]}`,
		`{"app":"1","event":"e","uid":"x","data":"d"}`, `{"items":[{"op":"publish","channel":"a","data":1}]}`, `{"broadcast":true,"data":1}`, `{"data":1}`, `[]`, `{"channel":`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := Object(body)
		if err != nil {
			return
		}
		for _, verb := range Verbs() {
			var b Budget
			ps, err := Parse(verb, object, known, &b)
			if err == nil && len(ps) == 0 {
				t.Errorf("%s: neither publications nor an error", verb)
			}
			checkError(t, err)
			size := 0
			for i := range ps {
				if ps[i].Kind == 0 || ps[i].Scope == 0 || ps[i].Target == "" && verb != "broadcast" {
					t.Errorf("%s: %+v", verb, ps[i])
				}
				size += len(ps[i].Data) + len(ps[i].Target)
			}
			if size > b.bytes {
				t.Errorf("%s: %d bytes, counted as %d", verb, size, b.bytes)
			}
		}
		items, err := Batch(object, known)
		checkError(t, err)
		if err == nil && len(items) == 0 {
			t.Error("a batch of nothing")
		}
		verb, err := VerbOf(object)
		checkError(t, err)
		if err == nil && !Known(verb) {
			t.Errorf("%q is no verb", verb)
		}
	})
}

func checkError(t *testing.T, err error) {
	var e *Error
	if err != nil && (!errors.As(err, &e) || e.Message == "" || strings.Contains(e.Message, "%!")) {
		t.Errorf("%#v", err)
	}
}

// TestFieldsOfVerbs: each field that a verb takes can be read.
func TestFieldsOfVerbs(t *testing.T) {
	for name, v := range verbs {
		for _, field := range v.fields {
			if setters[field] == nil {
				t.Errorf("%s takes %q, which nobody reads", name, field)
			}
		}
	}
	if !slices.IsSorted(Verbs()) || Known("fly") {
		t.Error("verbs")
	}
}

// TestAnswersDoNotEcho: what is said of a name that is wrong does not grow with it.
func TestAnswersDoNotEcho(t *testing.T) {
	long := strings.Repeat("é\x01", 50_000)
	text, err := json.Marshal(long)
	if err != nil {
		t.Fatal(err)
	}
	object := func(format string) Fields {
		t.Helper()
		f, err := Object([]byte(strings.ReplaceAll(format, "LONG", string(text))))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	check := func(err error) {
		t.Helper()
		var e *Error
		if !errors.As(err, &e) || len(e.Message)+len(e.Field) > 2000 || !utf8.ValidString(e.Field) {
			t.Errorf("%.300v", err)
		}
	}
	for _, o := range []string{`{LONG:1}`, `{"channel":"a","data":1,LONG:1}`, `{"app":"1","event":"x","channel":LONG,"data":1}`} {
		_, err := Parse("publish", object(o), Names{Apps: Apps{"1": 0}}, new(Budget))
		check(err)
	}
	_, err = Batch(object(`{LONG:1}`), Names{})
	check(err)
	items, err := Batch(object(`{"items":[{"op":LONG}]}`), Names{})
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	check(items[0].Err)
}
