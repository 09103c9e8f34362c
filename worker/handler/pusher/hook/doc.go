// Package hook tells the endpoints of an app what happens in it: webhooks.
//
// Events wait in a journal on disk, one for each endpoint, until the endpoint
// has answered with 2xx: a restart or a killed process loses none. They go out
// in the order in which they were added, several to a POST when more have come
// in while one was under way, and never two POSTs to an endpoint at once.
//
// Delivery is at least once. A POST whose answer was lost, or was under way when
// the process ended, is sent again; a receiver that must not count twice keeps
// the X-Pusher-Signature of the last POST, or uses socket_id and seq.
//
// An answer that is not 2xx, a redirect among them, is tried again after 1 s,
// 2 s, 4 s and so on, at most every minute. Events that are older than 5 minutes
// and have been tried, or have waited while all attempts failed for as long, are
// dropped with a line in the log.
package hook
