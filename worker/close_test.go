package worker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestCloseCodes: a code that clients would take for a broken protocol is told of, and
// none becomes another one for want of bits.
func TestCloseCodes(t *testing.T) {
	w := New(anyWS)
	w.OnMessage = func(c *Conn, m Message) {
		var code int
		var err error
		if _, scanErr := fmt.Sscanf(m.String(), "kick %d", &code); scanErr == nil {
			err = w.KickConn(c.ID(), code, "why")
		} else {
			_, err = fmt.Sscanf(m.String(), "close %d", &code)
			c.Close(code, "why")
		}
		if err != nil {
			if !errors.Is(err, ErrCloseCode) || !errors.Is(w.KickUID("u", code, ""), ErrCloseCode) {
				t.Errorf("%s: %v", m, err)
			}
			_ = c.SendText("refused")
		}
	}
	s := serve(t, w)
	for _, tc := range []struct {
		code int
		want uint16 // of Close, and of KickConn, which refuses where 1011 is in place of code
	}{
		{1000, 1000}, {1001, 1001}, {1012, 1012}, {3000, 3000}, {4999, 4999}, {0, 0}, {1005, 0}, {1006, 0}, {1011, 1011},
		{-1, 1011}, {999, 1011}, {1004, 1011}, {1016, 1011}, {2999, 1011}, {5000, 1011}, {66_536, 1011}, {99_999, 1011}, {1 << 40, 1011},
	} {
		c := connect(t, s.addrs[0], "/")
		c.text(fmt.Sprint("close ", tc.code))
		c.wantClose(tc.want)
		c = connect(t, s.addrs[0], "/")
		if c.text(fmt.Sprint("kick ", tc.code)); tc.want == 1011 && tc.code != 1011 {
			c.want("refused")
			continue
		}
		c.wantClose(tc.want)
	}
	if log := s.log.String(); !strings.Contains(log, "code=-1") || strings.Contains(log, "code=1000") {
		t.Errorf("the log says:\n%s", log)
	}
}
