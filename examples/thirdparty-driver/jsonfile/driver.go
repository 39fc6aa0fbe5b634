// SPDX-License-Identifier: Apache-2.0

// Package jsonfile is a driver that keeps a chain in a single JSON file, which
// is replaced as a whole at each change. It is an example for authors of
// drivers: complete, durable, and meant for some thousands of workflows.
package jsonfile

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/understudy-dev/understudy/driver"
)

const name = "jsonfile"

// Driver returns the driver.
func Driver() driver.Driver {
	return driver.Driver{Name: name, Version: "1.0", Open: open, Validate: validate}
}

// Config is the driver's section of the configuration.
type Config struct {
	// Directory has the files of all chains, <chain>.json; it is made if need be. A
	// relative one is below the working directory of the host.
	Directory string `json:"directory"`
}

func parse(section json.RawMessage) (Config, error) {
	var c Config
	if err := driver.DecodeConfig(section, &c); err != nil {
		return Config{}, driver.In(err, name, "configure")
	}
	if c.Directory == "" {
		return Config{}, &driver.Error{Class: driver.Invalid, Store: name, Op: "configure",
			Detail: "directory is not set: want the folder for the files of the chains"}
	}
	return c, nil
}

func validate(section json.RawMessage) error {
	_, err := parse(section)
	return err
}

func open(_ context.Context, req driver.OpenRequest) (driver.Store, error) {
	c, err := parse(req.Config)
	if err != nil {
		return nil, err
	}
	if err := driver.ValidateName("chain", req.Chain); err != nil {
		return nil, driver.In(err, name, "open")
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return nil, ioError(err, "open")
	}
	f := &file{path: filepath.Join(c.Directory, req.Chain+".json")}
	if err := f.acquire(); err != nil {
		return nil, err
	}
	held, err := f.load()
	if err != nil {
		f.release()
		return nil, err
	}
	return start(f, held), nil
}

// Describe implements driver.Store.
func (s *Store) Describe(ctx context.Context, _ driver.DescribeRequest) (driver.DescribeResponse, error) {
	if err := s.refuses(ctx); err != nil {
		return driver.DescribeResponse{}, driver.In(err, name, "describe")
	}
	return driver.DescribeResponse{
		Driver: name, Version: Driver().Version, Contract: driver.Contract,
		Capabilities: []driver.Capability{driver.CapDurable},
		Protection:   driver.Local,
		Details:      map[string]string{"file": s.file.path},
	}, nil
}
