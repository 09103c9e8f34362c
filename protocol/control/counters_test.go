package control

import (
	"reflect"
	"testing"
)

// TestCountersPlus goes through all fields, so that a new one is not forgotten.
func TestCountersPlus(t *testing.T) {
	filled := func(n uint64, cause string) (c Counters) {
		v := reflect.ValueOf(&c).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Uint64:
				f.SetUint(n + uint64(i))
			case reflect.Map:
				f.Set(reflect.ValueOf(map[string]uint64{"both": n + uint64(i), cause: n}))
			default:
				t.Fatalf("%s is a %s: how are two of them added?", v.Type().Field(i).Name, f.Kind())
			}
		}
		return c
	}
	a, b := filled(10, "a"), filled(200, "b")
	got := reflect.ValueOf(a.Plus(b))
	for i := range got.NumField() {
		name, both := got.Type().Field(i).Name, uint64(210+2*i)
		switch f := got.Field(i); f.Kind() {
		case reflect.Uint64:
			if f.Uint() != both {
				t.Errorf("%s: %d, want %d", name, f.Uint(), both)
			}
		default:
			if want := map[string]uint64{"both": both, "a": 10, "b": 200}; !reflect.DeepEqual(f.Interface(), want) {
				t.Errorf("%s: %v, want %v", name, f, want)
			}
		}
	}
	if !reflect.DeepEqual(a, filled(10, "a")) || !reflect.DeepEqual(b, filled(200, "b")) {
		t.Error("Plus has changed what it added")
	}
	if got := (Counters{}).Plus(Counters{}); !reflect.DeepEqual(got, Counters{}) {
		t.Errorf("nothing and nothing: %+v", got)
	}
}
