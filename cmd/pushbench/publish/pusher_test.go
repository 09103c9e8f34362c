package publish

import (
	"strings"
	"testing"
	"time"
)

// The example of Pusher's own documentation.
func TestPusherSignature(t *testing.T) {
	app := App{"3", "278d425bdf160c739803", "7ad3773142a6692b25b8"}
	query := app.query("/apps/3/events", []byte(`{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`), time.Unix(1353088179, 0))
	if !strings.HasSuffix(query, "&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c") {
		t.Error(query)
	}
}
