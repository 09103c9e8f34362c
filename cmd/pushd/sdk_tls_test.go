package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// startSecure starts a server behind TLS, and returns a flag by which Chromium
// trusts the authority of its certificate, which is in ca.pem.
func startSecure(t *testing.T, config string) (s *pushdtest.Server, trust string) {
	t.Helper()
	config = strings.Replace(config, `"websocket://127.0.0.1:{{port}}"`, `"wss://127.0.0.1:{{port}}"`+"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }", 1)
	s = pushdtest.Start(t, pushdtest.Options{Config: config, Manual: true})
	s.Secure = true
	ca := testkit.NewCA(t)
	ca.Write(filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem"), 30*24*time.Hour, "127.0.0.1")
	must(t, os.WriteFile(filepath.Join(s.Dir, "ca.pem"), ca.PEM(), 0o600))
	chain, err := os.OpenFile(filepath.Join(s.Dir, "cert.pem"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = chain.Write(ca.PEM()) // Chromium looks for the one that it knows among those that are sent
	must(t, err)
	must(t, chain.Close())
	must(t, os.WriteFile(filepath.Join(s.Dir, "the key"), []byte(s.Key+"\n"), 0o600)) // of the page
	s.MustRun("start", "-d")
	b, _ := pem.Decode(ca.PEM())
	cert, err := x509.ParseCertificate(b.Bytes)
	must(t, err)
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return s, "--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(sum[:])
}

// TestSDKsOverTLS: the SDKs with their TLS defaults, in Node and in Chromium.
func TestSDKsOverTLS(t *testing.T) {
	t.Parallel()
	s, trust := startSecure(t, sdkConfig)
	t.Run("pusher-js", func(t *testing.T) { scene(t, s, "channels.mjs") })
	t.Run("echo", func(t *testing.T) { scene(t, s, "echo.mjs", "reverb") })
	t.Run("browser", func(t *testing.T) { inBrowser(t, s, openBrowser(t, trust), "", "") })
}

// TestPageOverTLS: the page, its sockets, and a reload between two messages.
func TestPageOverTLS(t *testing.T) {
	t.Parallel()
	s, trust := startSecure(t, pageConfig)
	v := (&site{s, openBrowser(t, trust), fmt.Sprintf("https://127.0.0.1:%d/", s.Port)}).visit(t)
	tabsChat(v)
	moved(t, s, 6)
	chat(v.a, v.b, "in new processes")
	v.a.noTroubles()
}
