package pusher

import "encoding/json"

// Member is a user of a presence channel.
type Member struct {
	ID   string
	Info json.RawMessage // user_info; empty = none, sent as null in rosters
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
		data = AppendString(data, members[i].ID)
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

// MemberAdded tells of the first connection of a user.
func MemberAdded(channel string, m Member) []byte {
	data := AppendString([]byte(`{"user_id":`), m.ID)
	if len(m.Info) > 0 {
		data = append(append(data, `,"user_info":`...), m.Info...)
	}
	return Event("pusher_internal:member_added", channel, string(append(data, '}')))
}

// MemberRemoved tells that the last connection of a user is gone.
func MemberRemoved(channel, id string) []byte {
	data := AppendString([]byte(`{"user_id":`), id)
	return Event("pusher_internal:member_removed", channel, string(append(data, '}')))
}

func appendInfo(dst []byte, info json.RawMessage) []byte {
	if len(info) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, info...)
}
