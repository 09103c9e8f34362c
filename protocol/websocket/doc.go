// Package websocket is the server's side of RFC 6455 and of RFC 7692
// (permessage-deflate without context takeover) as pure functions over bytes:
// no I/O, no clock, no goroutine. Its owner reads and writes the sockets.
//
//   - Upgrade answers the opening handshake of one buffered request.
//   - Decoder turns received bytes into messages and control frames. It can
//     stop after any byte, be written out, and go on in another process.
//   - AppendFrame, AppendCompressed and AppendClose encode what is sent.
//
// Nothing here is kept for a connection between two messages: the zero
// Decoder is one that is idle. Nothing here is safe for use by two goroutines
// at once on the same value; different values do not share state.
//
// gobwas/ws does the unmasking and the handshake proper. What it lets pass and
// the RFCs forbid is refused here.
package websocket
