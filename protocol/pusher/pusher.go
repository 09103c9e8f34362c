// Package pusher is the Pusher Channels protocol, version 7, as bytes: names,
// signatures, and the events in both directions. It knows no connections, no
// channels' members and no clock.
//
// Slices that the Append and event functions return are the caller's; nothing
// returned aliases an argument, unless its documentation says so.
package pusher

// Error and close codes. Those below 4100 tell the client not to come back
// unchanged, 4100 to 4199 to wait, 4200 to 4299 to reconnect at once; those from
// 4300 are sent as an error event only.
const (
	CodeNoApp        = 4001 // there is no app of that key
	CodeDisabled     = 4003 // the app is switched off
	CodeOverQuota    = 4004 // the app has max_connections
	CodeBadVersion   = 4006 // the protocol's version is no number
	CodeProtocol     = 4007 // the protocol's version is not spoken here
	CodeUnauthorized = 4009 // wrong signature; also terminate_connections
	CodeOverCapacity = 4100 // the process is full
	CodeReconnect    = 4200 // connect again at once
	CodeNoPong       = 4201 // a ping was not answered
	CodeClientRate   = 4301 // too many client events
	CodeWatchlist    = 4302 // the watchlist is too long
)

// Protocol versions that are accepted; they do not differ for the server.
const (
	ProtocolMin = 5
	ProtocolMax = 7
)

// Limits that the protocol sets.
const (
	MaxChannel   = 164  // bytes of a channel's name
	MaxEventName = 200  // bytes of an event's name
	MaxUserID    = 128  // characters of a user id
	MaxUserInfo  = 1024 // bytes of user_info, as JSON, unless the app has another limit
	MaxWatchlist = 100  // users that a user watches
)
