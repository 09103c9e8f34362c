package websocket

import "testing"

// TestDeflateNegotiation: each offer, and what it is answered with.
func TestDeflateNegotiation(t *testing.T) {
	const base = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		"permessage-deflate":                                                                         base,
		"permessage-deflate; client_max_window_bits":                                                 base,
		"permessage-deflate; server_no_context_takeover":                                             base,
		"permessage-deflate; client_no_context_takeover":                                             base,
		"permessage-deflate; server_max_window_bits=8":                                               base + "; server_max_window_bits=8",
		"permessage-deflate; server_max_window_bits=15":                                              base + "; server_max_window_bits=15",
		`permessage-deflate; server_max_window_bits="10"`:                                            base + "; server_max_window_bits=10",
		`permessage-deflate;server_max_window_bits="1\0"`:                                            base + "; server_max_window_bits=10",
		"permessage-deflate; client_max_window_bits=9":                                               base + "; client_max_window_bits=9",
		"x-webkit-deflate-frame, permessage-deflate":                                                 base,
		"foo; bar=baz, , permessage-deflate,":                                                        base,
		"permessage-deflate; nonsense, permessage-deflate":                                           base,
		"permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=9": base + "; server_max_window_bits=9",
		"permessage-deflate; server_max_window_bits=9, permessage-deflate":                           base + "; server_max_window_bits=9",

		"foo":                "",
		"Permessage-Deflate": "",
		"permessage-deflate; server_max_window_bits":                                         "",
		"permessage-deflate; server_max_window_bits=7":                                       "",
		"permessage-deflate; server_max_window_bits=16":                                      "",
		"permessage-deflate; server_max_window_bits=08":                                      "",
		"permessage-deflate; server_max_window_bits=1e1":                                     "",
		"permessage-deflate; client_max_window_bits=16":                                      "",
		"permessage-deflate; server_no_context_takeover=1":                                   "",
		"permessage-deflate; client_no_context_takeover=\"x\"":                               "",
		"permessage-deflate; unknown":                                                        "",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":         "",
		"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9":             "",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=9":               "",
		"permessage-deflate; unknown; server_max_window_bits=9, foo; server_max_window_bits": "",

		"":                          "400",
		",":                         "400",
		";":                         "400",
		"permessage-deflate;":       "400",
		"permessage-deflate; =8":    "400",
		"permessage-deflate; a=":    "400",
		`permessage-deflate; a="`:   "400",
		`permessage-deflate; a="\`:  "400",
		`permessage-deflate; a=""`:  "400",
		`permessage-deflate; a=" "`: "400",
		"permessage-deflate x":      "400",
		"permessage-deflate, a b":   "400",
	} {
		resp, res, err := upgrade(t, with("Sec-WebSocket-Extensions: "+offer+"\r\n"), Options{Compression: true}, accept)
		if want == "400" {
			if err == nil || resp.StatusCode != 400 {
				t.Errorf("%q: %v", offer, err)
			}
			continue
		}
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); err != nil || got != want || res.Deflate != (want != "") {
			t.Errorf("%q: answered %q, %+v, %v", offer, got, res, err)
		}
		if res.Deflate && (res.ServerBits < 8 || res.ServerBits > 15) {
			t.Errorf("%q: %d bits", offer, res.ServerBits)
		}
		if resp, res, err := upgrade(t, with("Sec-WebSocket-Extensions: "+offer+"\r\n"), Options{}, accept); err != nil ||
			res.Deflate || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("%q, compression off: %+v, %v", offer, res, err)
		}
	}
	// Offers may come in several lines, the better ones first.
	resp, res, err := upgrade(t, with("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate\r\n"), Options{Compression: true}, accept)
	if err != nil || res != (Result{Deflate: true, ServerBits: 12}) || len(resp.Header["Sec-Websocket-Extensions"]) != 1 {
		t.Errorf("two lines: %+v, %v", res, err)
	}
}
