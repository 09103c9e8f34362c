package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pushd/pushd/cmd/config"
	"github.com/pushd/pushd/master"
)

// elsewhere adds to the error of an address that is in use how this pushd gets
// another one: two on a machine meet first at the API's default port.
func elsewhere(err error, cfg *config.Config) error {
	var busy *master.InUseError
	if !errors.As(err, &busy) {
		return err
	}
	_, at, _ := strings.Cut(busy.Address, "://")
	switch {
	case at == withoutScheme(cfg.API.Listen):
		return fmt.Errorf("%w; [api] listen, or PUSHD_API_LISTEN=127.0.0.1:2348 in the environment, gives this one another address", err)
	case at == withoutScheme(cfg.Metrics.Listen):
		return fmt.Errorf("%w; [metrics] listen, or PUSHD_METRICS_LISTEN in the environment, gives this one another address", err)
	case len(cfg.Workers) <= 1:
		return fmt.Errorf("%w; listen of the worker group, or PUSHD_LISTEN=127.0.0.1:9000 in the environment, gives this one another address", err)
	}
	return err
}

func withoutScheme(addr string) string {
	if _, at, ok := strings.Cut(addr, "://"); ok {
		return at
	}
	return addr
}
