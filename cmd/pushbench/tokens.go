package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/pushd/pushd/cmd/pushbench/client"
)

func tokensCommand() *cli.Command {
	return &cli.Command{
		Name: "tokens",
		Usage: "pages listen to a Mercure hub, each with a token: they come back with another one when the hub ends their stream for it, " +
			"while updates are sent to all; how far that spreads, and what each page got, is checked",
		Flags: commonFlags(
			connectionsFlag(1000),
			&cli.StringFlag{Name: "secret", Usage: "`SECRET` of the hub's tokens"},
			&cli.StringFlag{Name: "issuer", Value: "http://localhost", Usage: "`ISSUER` of the hub's tokens"},
			&cli.StringFlag{Name: "hub", Usage: "the hub's own `URL`; default: that of --url"},
			&cli.DurationFlag{Name: "life", Value: 300 * time.Second, Usage: "of a `TOKEN`"},
			&cli.DurationFlag{Name: "within", Value: 3 * time.Second, Usage: "how `LONG` they take to come, first of all"},
			&cli.IntFlag{Name: "times", Value: 3, Usage: "how `OFTEN` each page comes back"},
			&cli.Float64Flag{Name: "rate", Value: 1, Usage: "`UPDATES` a second that are sent to all"},
			stallFlag(), drainFlag()),
		Action: expire,
	}
}

// expiring is one run.
type expiring struct {
	*cli.Context
	*pages
	report *Report
	post   string // where updates are sent to
	said   int    // updates that were taken
}

func expire(c *cli.Context) error {
	if err := errors.Join(need(c, "url"), need(c, "secret")); err != nil {
		return err
	}
	if !strings.HasPrefix(c.String("url"), "sse://") {
		return fmt.Errorf("%w: --url is sse://host:port/path, the hub's", errUsage)
	}
	if c.Duration("life") < 10*time.Second || c.Int("times") < 1 || c.Float64("rate") <= 0 {
		return fmt.Errorf("%w: --life is at least 10s, --times 1, --rate above 0", errUsage)
	}
	e, err := newExpiring(c)
	if err != nil {
		return err
	}
	defer e.loop.Stop()
	return e.measure()
}

func newExpiring(c *cli.Context) (*expiring, error) {
	rest, _ := strings.CutPrefix(c.String("url"), "sse://")
	post := "http://" + rest
	own := cmp.Or(c.String("hub"), post)
	target, err := aim(c.String("url"))
	if err != nil {
		return nil, err
	}
	loop, err := client.NewLoop()
	if err != nil {
		return nil, err
	}
	go func() { _ = loop.Run() }()
	return &expiring{
		Context: c, post: post,
		report: &Report{Pushbench: 1, Command: c.Command.Name, Label: c.String("label"), URL: c.String("url"), Started: time.Now().UTC(), Machine: machine()},
		pages: &pages{
			loop: loop, target: target, list: make([]page, c.Int("connections")), left: c.Int("connections"), returns: c.Int("times"),
			hub:    hub{url: own, issuer: c.String("issuer"), topic: c.String("issuer") + "/bench", secret: c.String("secret"), life: c.Duration("life")},
			counts: pageCounts{seconds: map[int64]int{}},
		},
	}, nil
}

func (e *expiring) measure() error {
	if err := e.returnsOf(); err != nil {
		e.report.problem("%v", err)
	}
	e.loop.Do(func() { e.over = true })
	return e.judge()
}

// returnsOf has all pages come, and come back as often as they are to.
func (e *expiring) returnsOf() error {
	e.opens(e.Duration("within"))
	if err := e.until(e.Duration("stall"), "all pages are there", func() bool { return e.there == len(e.list) }); err != nil {
		return err
	}
	if err := e.say(time.Duration(e.Int("times"))*e.Duration("life") + e.Duration("stall")); err != nil {
		return err
	}
	return e.until(e.Duration("drain"), "all pages are back and have all", func() bool {
		return !slices.ContainsFunc(e.list, func(p page) bool { return p.last != e.said })
	})
}

// until waits for something that is looked at on the loop, as long as nothing is odd.
func (e *expiring) until(most time.Duration, what string, so func() bool) error {
	for end := time.Now().Add(most); ; {
		var is, odd bool
		e.loop.Do(func() { is, odd = so(), e.counts.wrong != "" })
		switch {
		case is || odd:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("not so after %s: %s", most, what)
		}
		if err := sleep(e.Context, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// say sends updates until everybody has come back as often as asked, or something is
// odd, and one more.
func (e *expiring) say(most time.Duration) error {
	end := time.Now().Add(most)
	for {
		var left int
		var odd bool
		e.loop.Do(func() { left, odd = e.left, e.counts.wrong != "" })
		if odd {
			return nil
		}
		if err := e.update(); err != nil || left == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d pages have not come back %d times after %s", left, len(e.list), e.returns, most)
		}
		if err := sleep(e.Context, time.Duration(float64(time.Second)/e.Float64("rate"))); err != nil {
			return err
		}
	}
}

// update sends the next one.
func (e *expiring) update() error {
	form := url.Values{"topic": {e.hub.topic}, "data": {strconv.Itoa(e.said + 1)}}
	r, err := http.NewRequestWithContext(e.Context.Context, http.MethodPost, e.post, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+e.hub.token("publish"))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("an update was answered with %s: %s", answer.Status, text)
	}
	e.said++
	return nil
}

// judge says what came of it.
func (e *expiring) judge() error {
	n := &e.report.Numbers
	e.loop.Do(func() {
		c := &e.counts
		n.Set("pages", float64(len(e.list)))
		n.Set("updates", float64(e.said))
		n.Set("messages", float64(c.messages))
		n.Set("returns", float64(c.ended))
		n.Set("returns_most_in_a_second", float64(c.fullest()))
		n.Set("returns_share_of_a_second", float64(c.fullest())/float64(len(e.list)))
		n.Set("messages_lost", float64(c.lost))
		n.Set("messages_twice", float64(c.twice))
		if c.lost+c.twice > 0 {
			e.report.problem("%d messages were lost, %d came twice", c.lost, c.twice)
		}
		if c.wrong != "" {
			e.report.problem("%s", c.wrong)
		}
	})
	e.report.OK = len(e.report.Problems) == 0
	return e.report.output(e.Context)
}
