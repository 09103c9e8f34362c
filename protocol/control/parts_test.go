package control

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestLongBodiesComeInParts(t *testing.T) {
	for _, size := range []int{1, partSize - 2, partSize - 1, partSize, 3 * partSize, 5*partSize + 7} {
		body, err := Marshal(strings.Repeat("<", size))
		if err != nil {
			t.Fatal(err)
		}
		parts := Split(Message{Type: TypeAnswer, ID: 9, Body: body})
		if whole := len(body) <= partSize; whole != (len(parts) == 1) {
			t.Errorf("%d bytes in %d parts", len(body), len(parts))
		}
		var j Join
		for i, m := range parts {
			data, err := Marshal(m)
			if err != nil || len(data) > MaxMessage {
				t.Fatalf("part %d of %d bytes: %v", i, len(data), err)
			}
			var got Message
			if err := json.Unmarshal(data, &got); err != nil || got.ID != 9 || got.Type != TypeAnswer {
				t.Fatalf("part %d: %+v %v", i, got, err)
			}
			if whole := j.Add(&got); whole != (i == len(parts)-1) {
				t.Errorf("part %d of %d: whole %v", i+1, len(parts), whole)
			} else if whole && (!bytes.Equal(got.Body, body) || got.Error != "") {
				t.Errorf("%d bytes became %d, %s", len(body), len(got.Body), got.Error)
			}
		}
	}
}

func TestBadPartsAreErrors(t *testing.T) {
	var lost Join
	m := Message{Part: []byte("{")}
	if !lost.Add(&m) || m.Error == "" || m.Body != nil {
		t.Errorf("a part is missing: %+v", m)
	}
	var endless Join
	for n := 0; n <= MaxParts/partSize; n++ {
		m = Message{Part: make([]byte, partSize), More: true}
		if endless.Add(&m) {
			if m.Error == "" {
				t.Error("no error")
			}
			return
		}
	}
	t.Error("no bound")
}
