// Package tls carries on with a TLS connection whose handshake is over, with a
// state of 208 bytes that can be written down and read by another process.
//
// crypto/tls shakes hands (Server.Handshake), and is forgotten. What is left is a
// Session: two directions with their keys and sequence numbers. It opens the
// records that the client sends and seals those for it. All clients go the same
// way: TLS 1.3 and 1.2, each with ECDHE and an AEAD cipher, and nothing else.
//
// All cryptography is the standard library's, and x/crypto's ChaCha20-Poly1305.
// Ours are nonces, lengths, types, alerts and counters. There is no I/O and no
// clock here. A Session and a Ring belong to one goroutine.
//
// Seal right before the bytes are written, and never twice. What a socket has
// not taken of sealed bytes is kept sealed: to seal the same frame again takes
// another number, and the client ends with bad_record_mac; with the number put
// back it uses a nonce twice, which for AES-GCM gives the key away. The same
// holds for a Session that is in two processes: it may be used in one of them
// only when the other can never have used it.
package tls
