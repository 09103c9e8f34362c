package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pushd/pushd/cmd/config"
)

const (
	apiTimeout = 10 * time.Second
	maxBody    = 1 << 20 // of a request or an answer, in bytes, as the API itself
)

// publish sends to a channel.
func publish(c *call) error {
	args := c.flags.Args()
	body, err := c.payload(args.Get(1))
	if err != nil {
		return err
	}
	body["channel"] = args.Get(0)
	if except := c.flags.StringSlice("except"); len(except) > 0 {
		body["except"] = except
	}
	return c.tellReached("/v1/publish", body)
}

// send sends to a user or a connection.
func send(c *call) error {
	body, err := c.payload(c.flags.Args().Get(0))
	if err != nil {
		return err
	}
	if err := c.target(body); err != nil {
		return err
	}
	return c.tellReached("/v1/send", body)
}

// kick closes the connections of a user, or one.
func kick(c *call) error {
	body := map[string]any{"code": c.flags.Int("code")}
	if reason := c.flags.String("reason"); reason != "" {
		body["reason"] = reason
	}
	if err := c.target(body); err != nil {
		return err
	}
	return c.tellReached("/v1/kick", body)
}

// target puts --uid or --connection into a request.
func (c *call) target(body map[string]any) error {
	uid, conn := c.flags.String("uid"), c.flags.String("connection")
	switch {
	case (uid == "") == (conn == ""):
		return misusef("name one target: --uid ID or --connection ID")
	case uid != "":
		body["uid"] = uid
	default:
		body["connection"] = conn
	}
	return nil
}

// payload turns the argument DATA into the fields of a request: the client gets
// exactly these bytes.
func (c *call) payload(data string) (map[string]any, error) {
	if data == "-" {
		raw, err := io.ReadAll(io.LimitReader(os.Stdin, maxBody+1))
		if err != nil {
			return nil, fmt.Errorf("read data from stdin: %w", err)
		}
		data = string(raw)
	}
	if len(data) > maxBody {
		return nil, fmt.Errorf("data is longer than 1 MiB")
	}
	if c.flags.Bool("binary") {
		return map[string]any{"data_base64": base64.StdEncoding.EncodeToString([]byte(data))}, nil
	}
	if !utf8.ValidString(data) {
		return nil, fmt.Errorf("data is not UTF-8: use --binary")
	}
	return map[string]any{"data": data}, nil
}

// reached is what the API answers to all three.
type reached struct {
	Reached  *int `json:"reached"`
	Closed   *int `json:"closed"`
	Complete bool `json:"complete"`
}

func (c *call) tellReached(path string, body map[string]any) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	raw, err := c.post(cfg, path, body)
	if err != nil {
		return err
	}
	if c.json() {
		_, err := fmt.Fprintln(c.out, cleanJSON(string(bytes.TrimSpace(raw))))
		return err
	}
	var r reached
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("read the API's answer: %w", err)
	}
	switch {
	case r.Closed != nil:
		fmt.Fprintf(c.out, "closed %s\n", counted(*r.Closed, "connection", "connections"))
	case r.Reached != nil:
		fmt.Fprintf(c.out, "reached %s\n", counted(*r.Reached, "connection", "connections"))
	}
	if !r.Complete {
		fmt.Fprintln(c.err, "a worker did not answer in time: there may be more")
	}
	return nil
}

// post orders something of the HTTP API.
func (c *call) post(cfg *config.Config, path string, body any) ([]byte, error) {
	return c.ask(cfg, http.MethodPost, path, bytes.NewReader(mustJSON(body)))
}

// ask makes a request of the HTTP API.
func (c *call) ask(cfg *config.Config, method, path string, body io.Reader) ([]byte, error) {
	if cfg.API.Listen == "" {
		return nil, fmt.Errorf("the API is off: set listen in the table [api]")
	}
	c.findAPI(cfg)
	key, err := apiKey(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, apiScheme(cfg)+"://pushd"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+key)
	client := http.Client{Transport: apiTransport(cfg)}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the API on %s does not answer: %w (is pushd running? `%s status` tells)", cfg.API.Listen, cause(err), c.program.typed())
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the API's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, apiError(cfg, res.StatusCode, raw)
	}
	return raw, nil
}

// cause is the error without the method and address that net/http puts first.
func cause(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}

// apiTransport reaches the API's listener, whatever the request's host.
func apiTransport(cfg *config.Config) *http.Transport {
	listen := cfg.API.Listen
	return &http.Transport{TLSClientConfig: ownCertificates(cfg.API.TLS), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		network, addr := "tcp", dialable(listen)
		if path, ok := strings.CutPrefix(listen, "unix://"); ok {
			network, addr = "unix", path
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
}

// dialable turns an address to listen on into one to connect to.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if ip != nil && ip.To4() == nil {
			return net.JoinHostPort("::1", port)
		}
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

func apiError(cfg *config.Config, code int, raw []byte) error {
	if code == http.StatusUnauthorized {
		where := cfg.KeyFile()
		if cfg.API.Key != "" {
			where = "the config"
		}
		return fmt.Errorf("the API does not take the key from %s: it may run on another config, see -c", where)
	}
	r := &refusal{status: code}
	if json.Unmarshal(raw, r) != nil || r.Message == "" {
		r.Message, r.Field, r.Reason = http.StatusText(code), "", ""
	}
	return r
}

// refusal is an answer of the API that is no 200.
type refusal struct {
	status  int
	Message string `json:"error"`
	Field   string `json:"field"`
	Reason  string `json:"reason"`
}

// Error says what was answered.
func (r *refusal) Error() string {
	text := fmt.Sprintf("the API answers %d: %s", r.status, r.Message)
	if r.Reason != "" {
		text += ": reason " + r.Reason
	}
	if r.Field != "" {
		text += " (field " + r.Field + ")"
	}
	return text
}
