package api

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestOnlineOverAllWorkers(t *testing.T) {
	st := newStage(t)
	st.worker("push/0/1", conn("1.1", "42"), conn("1.2", "7"), conn("1.3", ""))
	st.worker("push/1/1", conn("2.1", "42"), conn("2.2", "<ü>"))
	st.worker("other/0/1")
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint(i))
	}
	list := strings.Join(many, ",")
	for _, c := range []struct {
		body   string
		status int
		answer string
	}{
		{`{"uids":["42","7","9"]}`, 200, `{"online":{"42":2,"7":1},"complete":true}`},
		{`{"uids":[42,"42",7],"uid":42}`, 200, `{"online":{"42":2,"7":1},"complete":true}`},
		{`{"uid":"<ü>"}`, 200, `{"online":{"\u003cü\u003e":1},"complete":true}`},
		{`{"uids":["nobody"]}`, 200, `{"online":{},"complete":true}`},
		{`{"uids":[` + list + `]}`, 200, `{"online":{"42":2,"7":1},"complete":true}`},
		{`{"uids":[` + list + `,1000]}`, 400, `{"error":"uids: must have 1 to 1000 entries","field":"uids"}`},
		{`{"uid":1000,"uids":[` + list + `]}`, 400, `{"error":"at most 1000 uids","field":"uids"}`},
		{`{"uids":[]}`, 400, `{"error":"uids: must have 1 to 1000 entries","field":"uids"}`},
		{`{"uids":[1.5]}`, 400, `{"error":"uids: must be a string or a whole number","field":"uids"}`},
		{`{"uids":[""]}`, 400, `{"error":"uids: must not be empty","field":"uids"}`},
		{`{}`, 400, `{"error":"uid or uids is needed","field":"uids"}`},
		{`{"uids":["1"],"data":1}`, 400, `{"error":"unknown field \"data\"; known are uid, uids","field":"data"}`},
		{`[]`, 400, `{"error":"body must be a JSON object"}`},
	} {
		st.want("POST", "/v1/online", c.body, c.status, c.answer)
	}
	st.want("GET", "/v1/online", "", 405, `{"error":"use POST"}`)
}

func TestOnlineWithAWorkerThatIsSilent(t *testing.T) {
	st := newStage(t, func(o *Options) { o.AnswerTimeout = time.Second })
	st.worker("push/0/1", conn("1.1", "42"))
	w := st.worker("push/1/1", conn("2.1", "42"))
	w.mu.Lock()
	w.mute = true
	w.mu.Unlock()
	st.want("POST", "/v1/online", `{"uids":[42]}`, 200, `{"online":{"42":1},"complete":false}`)
}
