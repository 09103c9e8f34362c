package master

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

// spoken is an error that has a JSON of its own.
type spoken struct{ Step string }

func (spoken) Error() string { return "at a step" }

func (s spoken) MarshalJSON() ([]byte, error) { return []byte(`{"step":"a"}`), nil }

// TestLogOfJSON: what is text in a log of text is text there, too.
func TestLogOfJSON(t *testing.T) {
	for want, v := range map[string]any{
		"plain": errors.New("plain"), "at a step": spoken{"a"}, "1.5s": 1500 * time.Millisecond,
		"127.0.0.1:80": net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}), "::1": netip.MustParseAddr("::1"),
		"WARN": slog.LevelWarn, "2026-05-01T12:00:00Z": time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), "<nil>": error((*AlreadyRunningError)(nil)),
	} {
		var out bytes.Buffer
		log := slog.New(NewLogHandler(&out, slog.LevelInfo, "json"))
		log.With("with", v).Info("a line", "field", v, slog.Group("in", "field", v), "list", []int{1}, "count", 2)
		var line struct {
			Level, Msg, With, Field string
			In                      struct{ Field string }
			List                    []int
			Count                   int
			Time                    time.Time
		}
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Field != want || line.With != want || line.In.Field != want || line.Count != 2 || line.Level != "INFO" || line.Time.IsZero() {
			t.Errorf("%q: %s, %v", want, out.Bytes(), err)
		}
	}
}
