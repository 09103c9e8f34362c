package load

import "testing"

func TestBarePing(t *testing.T) {
	each, err := BarePing(200, 3)
	if err != nil || each <= 0 {
		t.Errorf("%v, %v", each, err)
	}
}
