package tls

import "fmt"

// Alert is a fatal alert (RFC 8446, 6.2): one that the client has sent, or one
// that it is to be sent, which ends the connection.
type Alert struct {
	Code   uint8
	Remote bool // the client has sent it
}

// Alerts that this package raises.
const (
	alertCloseNotify     = 0
	alertUnexpected      = 10
	alertBadRecordMAC    = 20
	alertRecordOverflow  = 22
	alertIllegal         = 47
	alertDecode          = 50
	alertProtocolVersion = 70
	alertUserCanceled    = 90
	alertNoRenegotiation = 100
)

const (
	levelWarning = 1
	levelFatal   = 2
)

// names are those of the RFCs, of what clients send after a handshake.
var names = map[uint8]string{
	alertUnexpected: "unexpected_message", alertBadRecordMAC: "bad_record_mac", 21: "decryption_failed",
	alertRecordOverflow: "record_overflow", 40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate",
	44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown", alertIllegal: "illegal_parameter",
	48: "unknown_ca", 49: "access_denied", alertDecode: "decode_error", 51: "decrypt_error",
	alertProtocolVersion: "protocol_version", 71: "insufficient_security", 80: "internal_error",
	alertUserCanceled: "user_canceled", alertNoRenegotiation: "no_renegotiation",
}

func (a Alert) Error() string {
	name := names[a.Code]
	if name == "" {
		name = fmt.Sprint("number ", a.Code)
	}
	if a.Remote {
		return "TLS client sent the alert " + name
	}
	return "TLS client broke the protocol: " + name
}
