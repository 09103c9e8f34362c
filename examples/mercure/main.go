// A page that listens twice to one room: by EventSource from a Mercure hub, and by
// a WebSocket with the Pusher protocol. What it says goes to the hub, by the cookie
// that this program has set. README.md has the lines that make a Laravel or a
// Symfony app use the hub.
//
// Start it with `go run ./examples/mercure start -c examples/mercure/pushd.toml`,
// then open http://localhost:8096/.
package main

import (
	"embed"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pushd/pushd/cmd"
	"github.com/pushd/pushd/worker"
	_ "github.com/pushd/pushd/worker/handler/mercure"
	_ "github.com/pushd/pushd/worker/handler/pusher"
)

//go:embed index.html
var page embed.FS

// What pushd.toml says, too.
const (
	hub    = "http://localhost:8096/.well-known/mercure"
	issuer = "http://localhost:8096"
	secret = "a secret of this example, for tokens"
	room   = "https://laravel.alt/echo/channel/room"
)

// lifetime is short, so that one sees a stream end and come back with a new token.
const lifetime = 5 * time.Minute

type files struct{ http.Handler }

// OnRequest serves the page.
func (f files) OnRequest(res *worker.Response, req *worker.Request) { f.ServeHTTP(res, req.Request) }

// login sets the cookie that lets a browser read the room and speak there. A real
// one knows its users.
func login(w http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": issuer, "aud": hub, "sub": "guest", "client_id": "example", "jti": now.String(), "iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
		"authorization_details": []any{map[string]any{
			"type": "https://mercure.rocks/authorization-detail", "actions": []string{"subscribe", "publish"}, "topics": []any{map[string]string{"match": room}},
		}},
	})
	token.Header["typ"] = "at+jwt"
	raw, err := token.SignedString([]byte(secret))
	if err != nil {
		http.Error(w, "no token", http.StatusInternalServerError)
		return
	}
	// Without the prefix __Secure-, since browsers take that over https only. The
	// hub knows this name on localhost.
	http.SetCookie(w, &http.Cookie{Name: "mercure_access_token", Value: raw, Path: "/.well-known/mercure", MaxAge: int(lifetime.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.WriteHeader(http.StatusNoContent)
}

func main() {
	worker.RegisterHandler("page", func(worker.Options) (worker.Handler, error) {
		mux := http.NewServeMux()
		mux.Handle("/", http.FileServerFS(page))
		mux.HandleFunc("/login", login)
		return files{mux}, nil
	})
	cmd.Main()
}
