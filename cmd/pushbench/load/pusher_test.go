package load

import "testing"

// The example of Pusher's own documentation.
func TestPusherSubscriptionIsSigned(t *testing.T) {
	p := Pusher{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
	if s := p.sign("1234.1234:private-foobar"); s != "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4" {
		t.Error(s)
	}
}

func TestNewcomer(t *testing.T) {
	if user, ok := newcomer([]byte(`{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"0-12\",\"user_info\":null}"}`)); !ok || user != "0-12" {
		t.Errorf("%q, %v", user, ok)
	}
	for _, other := range []string{`{"event":"pusher_internal:member_removed","data":"{\"user_id\":\"0-12\"}"}`, `{"event":"pusher_internal:member_added"}`, ""} {
		if user, ok := newcomer([]byte(other)); ok {
			t.Errorf("%s: %q", other, user)
		}
	}
}
