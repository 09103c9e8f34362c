package pusher

import (
	"bytes"
	"encoding/json"
)

// Member is a user of a presence channel.
type Member struct {
	ID     string
	Number bool            // ID was given as a number, and is sent as one
	Info   json.RawMessage // user_info; empty = none, sent as null in rosters
}

// AppendID appends the member's id in the form in which it was given: clients
// compare the ids of others with their own, which they take from channel_data.
// 7 and "7" are one user all the same.
func (m *Member) AppendID(dst []byte) []byte {
	if m.Number {
		return append(dst, m.ID...)
	}
	return AppendString(dst, m.ID)
}

// PresenceSucceeded confirms a subscription to a presence channel: it tells all
// of its users, each once.
func PresenceSucceeded(channel string, members []Member) []byte {
	size := 64
	for i := range members {
		size += 2*len(members[i].ID) + len(members[i].Info) + 8
	}
	data := make([]byte, 0, size)
	data = append(data, `{"presence":{"count":`...)
	data = appendInt(data, len(members))
	data = append(data, `,"ids":[`...)
	for i := range members {
		if i > 0 {
			data = append(data, ',')
		}
		data = members[i].AppendID(data)
	}
	data = append(data, `],"hash":{`...)
	for i := range members {
		if i > 0 {
			data = append(data, ',')
		}
		data = AppendString(data, members[i].ID)
		data = append(data, ':')
		data = appendInfo(data, members[i].Info)
	}
	return Event(EventSucceeded, channel, string(append(data, "}}}"...)))
}

// Listed returns m in the form in which a list that PresenceSucceeded has made
// tells it: another connection of the user may have come first.
func Listed(list []byte, m Member) Member {
	ids, _, ok := bytes.Cut(list, []byte(`],\"hash\":{`))
	if ok && whole(json.RawMessage(m.ID)) {
		// What stands in an id is escaped once more, so this is one, whole.
		m.Number = !bytes.Contains(ids, []byte(`\"`+m.ID+`\"`))
	}
	return m
}

// MemberAdded tells of the first connection of a user.
func MemberAdded(channel string, m Member) []byte {
	data := m.AppendID([]byte(`{"user_id":`))
	if len(m.Info) > 0 {
		data = append(append(data, `,"user_info":`...), m.Info...)
	}
	return Event("pusher_internal:member_added", channel, string(append(data, '}')))
}

// MemberRemoved tells that the last connection of a user is gone.
func MemberRemoved(channel string, m Member) []byte {
	data := m.AppendID([]byte(`{"user_id":`))
	return Event("pusher_internal:member_removed", channel, string(append(data, '}')))
}

func appendInfo(dst []byte, info json.RawMessage) []byte {
	if len(info) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, info...)
}
