package load

import "testing"

// The example of Pusher's own documentation.
func TestPusherSubscriptionIsSigned(t *testing.T) {
	p := Pusher{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
	if s := p.sign("1234.1234:private-foobar"); s != "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4" {
		t.Error(s)
	}
}
