package main

import (
	"net/http"

	"github.com/olahol/melody"
)

// Two goroutines and a queue per connection, over gorilla.
func melodyEcho() http.HandlerFunc {
	m := melody.New()
	m.HandleMessage(func(s *melody.Session, data []byte) { _ = s.Write(data) })
	m.HandleMessageBinary(func(s *melody.Session, data []byte) { _ = s.WriteBinary(data) })
	return func(w http.ResponseWriter, r *http.Request) { _ = m.HandleRequest(w, r) }
}

func melodyChat() http.HandlerFunc {
	const key = "room"
	m := melody.New()
	others := func(s *melody.Session) func(*melody.Session) bool {
		room := s.MustGet(key)
		return func(o *melody.Session) bool { return o != s && o.MustGet(key) == room }
	}
	m.HandleMessage(func(s *melody.Session, data []byte) { _ = m.BroadcastFilter(data, others(s)) })
	m.HandleMessageBinary(func(s *melody.Session, data []byte) { _ = m.BroadcastBinaryFilter(data, others(s)) })
	return func(w http.ResponseWriter, r *http.Request) {
		_ = m.HandleRequestWithKeys(w, r, map[string]any{key: roomName(r)})
	}
}
