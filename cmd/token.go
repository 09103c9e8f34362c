package cmd

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/login"
)

// token prints a login token for the handler notify: HS256 with sub, channels,
// iat and exp.
func token(c *call) error {
	uid, ttl := c.flags.String("uid"), c.flags.Duration("ttl")
	if uid == "" {
		return misusef("whose token? name --uid ID")
	}
	if ttl < time.Second {
		return misusef("--ttl %s is shorter than a second", ttl)
	}
	channels := c.flags.StringSlice("channel")
	if err := (&login.Claims{Subject: uid, Channels: channels}).Check(); err != nil {
		return misusef("no server would take this token: %w", err)
	}
	secret, err := c.secret()
	if err != nil {
		return err
	}
	if err := worker.CheckSecret(secret, worker.MinSecret); err != nil {
		return fmt.Errorf("the secret %w", err)
	}
	now := time.Now()
	expires := now.Add(ttl)
	claims := jwt.MapClaims{"sub": uid, "iat": now.Unix(), "exp": expires.Unix()}
	if len(channels) > 0 {
		claims["channels"] = channels
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		return fmt.Errorf("sign token: %w", err)
	}
	if c.json() {
		return writeJSON(c.out, map[string]any{"token": signed, "expires": expires.UTC().Format(time.RFC3339)})
	}
	fmt.Fprintln(c.out, signed)
	return nil
}

// secret is the one of --secret-file, else of the config's notify route.
func (c *call) secret() (string, error) {
	if file := c.flags.String("secret-file"); file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		return strings.TrimRight(string(raw), "\r\n"), nil
	}
	cfg, err := c.config()
	if err != nil {
		return "", err
	}
	return notifySecret(cfg, c.flags.String("route"))
}

// notifySecret finds the secret of the routes to notify, or of the one with
// that path. Several routes with the same secret are as good as one.
func notifySecret(cfg *config.Config, path string) (string, error) {
	secrets, routes := map[string]bool{}, []string{}
	secret := ""
	for _, w := range cfg.Workers {
		for _, r := range w.All() {
			var o struct{ Secret string }
			if path != "" && r.Pattern != path || r.Handler != "notify" && (r.Handler != "chat" || path == "") {
				continue
			}
			if err := json.Unmarshal(r.Options, &o); err != nil || o.Secret == "" {
				continue
			}
			secret, secrets[o.Secret], routes = o.Secret, true, append(routes, r.Pattern)
		}
	}
	switch {
	case len(secrets) == 1:
		return secret, nil
	case len(secrets) > 1:
		return "", fmt.Errorf("the routes %s have different secrets: choose with --route", strings.Join(routes, ", "))
	case path != "":
		return "", fmt.Errorf("the config has no route %s to notify or chat with a secret", path)
	}
	return "", fmt.Errorf(`no route of the config has a secret for notify: set options = { secret = "…" }, or name --secret-file`)
}
