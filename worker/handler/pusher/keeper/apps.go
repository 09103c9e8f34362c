package keeper

import (
	"encoding/json"
	"fmt"
	"slices"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// Service is the name that workers tell, and that the apps stand under in
// worker.ServiceOptions.
const Service = "pusher"

// Options returns apps as the options of the service.
func Options(apps []wire.App) []worker.Options {
	list := make([]worker.Options, len(apps))
	for i := range apps {
		raw, err := json.Marshal(&apps[i])
		if err != nil {
			panic(fmt.Sprintf("encode an app: %v", err)) // plain values only
		}
		list[i] = raw
	}
	return list
}

// Apps reads the options of the service. Of an id the first counts: a config
// goes before what a program declares. It finds apps that cannot be.
func Apps(options []worker.Options) ([]wire.App, error) {
	var apps []wire.App
	for _, o := range options {
		var a wire.App
		if err := o.Decode(&a); err != nil {
			return nil, fmt.Errorf("app: %w", err)
		}
		if !slices.ContainsFunc(apps, func(b wire.App) bool { return b.ID == a.ID }) {
			apps = append(apps, a)
		}
	}
	for i := range apps {
		if err := worker.ChannelsTaken(apps[i].ID); err != nil {
			return nil, fmt.Errorf("app %q: %w", apps[i].ID, err)
		}
	}
	return apps, wire.CheckApps(apps)
}

// Check implements worker.CheckedService.
func (*Keeper) Check(options []worker.Options) error {
	_, err := Apps(options)
	return err
}

// appOf is the app of a name on the bus.
func appOf(name string) string {
	app, _ := Split(name)
	return app
}
