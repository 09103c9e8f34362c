package sse

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAppend(t *testing.T) {
	for _, tc := range []struct {
		e    Event
		want string
	}{
		{Event{}, ""},
		{Event{Data: []byte{}}, "data: \n\n"},
		{Event{Data: []byte("hello")}, "data: hello\n\n"},
		{Event{Data: []byte("a\nb\r\nc\rd\n")}, "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{Event{ID: "k:7", Type: "said", Retry: 1500*time.Millisecond + 1, Data: []byte(" x")}, "event: said\nid: k:7\nretry: 1500\ndata:  x\n\n"},
		{Event{ID: "k:7"}, "id: k:7\n\n"},
		{Event{Retry: time.Second}, "retry: 1000\n\n"},
		{Event{ID: "a\nb", Type: "a\rdata: forged", Data: []byte("x")}, "data: x\n\n"},
		{Event{ID: "a\x00b", Data: []byte("x")}, "data: x\n\n"},
	} {
		if got := string(Append([]byte("before\n"), tc.e)); got != "before\n"+tc.want {
			t.Errorf("%+v: %q, want %q", tc.e, got, tc.want)
		}
	}
	if got := string(AppendData(nil, nil)); got != "data: \n\n" {
		t.Errorf("%q", got)
	}
	if got := string(AppendBinary(nil, []byte{0, 255})); got != "event: binary\ndata: AP8=\n\n" {
		t.Errorf("%q", got)
	}
}

func TestReader(t *testing.T) {
	in := "\ufeff:hi\n\nid: 1\nretry: 10\n\nevent: e\rdata:a\r\ndata: b\r\n\r\nid:2\x00\nid\ndata\n\nretry: soon\nfoo: bar\nfoo\n\nid: 9\ndata: lost"
	r := NewReader(strings.NewReader(in), 1<<10)
	want := []Event{{ID: "1", Retry: 10 * time.Millisecond}, {Type: "e", Data: []byte("a\nb")}, {Data: []byte{}}}
	for _, w := range want {
		if e, err := r.Next(); err != nil || !reflect.DeepEqual(e, w) {
			t.Fatalf("%+v %v, want %+v", e, err, w)
		}
	}
	if _, err := r.Next(); err != io.EOF || r.Comments != 1 {
		t.Errorf("%v, %d comments", err, r.Comments)
	}
	if _, err := NewReader(strings.NewReader("data: "+strings.Repeat("x", 99)), 50).Next(); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// FuzzRoundTrip: what a handler says is one event, and nothing that it says makes
// another one of it.
func FuzzRoundTrip(f *testing.F) {
	f.Add("id", "type", []byte("a\nb"))
	f.Add("\n", "x\r\n\r\ndata: y", []byte("\r\n\r\nid: 7\n"))
	f.Fuzz(func(t *testing.T, id, name string, data []byte) {
		if data == nil {
			data = []byte{}
		}
		r := NewReader(bytes.NewReader(AppendData(Append(nil, Event{ID: id, Type: name, Data: data}), []byte("end"))), 1<<20)
		e, err := r.Next()
		lines := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		if err != nil || string(e.Data) != lines || e.ID != "" && e.ID != id || e.Type != "" && e.Type != name {
			t.Fatalf("%+v %v of %q %q %q", e, err, id, name, data)
		}
		if e, err := r.Next(); err != nil || string(e.Data) != "end" || e.ID+e.Type != "" {
			t.Fatalf("%+v %v", e, err)
		}
	})
}
