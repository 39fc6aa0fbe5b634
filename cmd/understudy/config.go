// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

func configCommands() []command {
	return []command{
		{name: "check", about: "tell all that is wrong with a configuration", run: configCheck},
		{name: "show", about: "show every value and where it comes from, secrets redacted", run: configShow},
		{name: "defaults", about: "write the defaults as a configuration file", run: configDefaults},
	}
}

const aboutCheck = `Tells all that is wrong with a configuration. Each driver checks its own section: a linked one by itself;
a plugin is started for it, opens its store, and is ended.`

func configCheck(ctx context.Context, p *program, path string, args []string) int {
	fs := flags(path, "", aboutCheck)
	var o conf.Options
	o.AddFlags(fs)
	static := fs.Bool("static", false, "start no plugins: their binaries and their drivers' sections are not checked")
	if _, status, done := p.parse(fs, args, 0); done {
		return status
	}
	c, err := conf.Load(o)
	if err != nil {
		return p.fail(path, err)
	}
	config := c.ChainConfig()
	var wrong []error
	for i := range config.Links {
		link := &config.Links[i]
		if *static && link.Plugin != "" {
			continue
		}
		if err := checkDriver(ctx, config.Name, link); err != nil {
			wrong = append(wrong, fmt.Errorf("links.%s: %w", link.Name, err))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return p.fail(path, err)
	}
	fmt.Fprintf(p.stdout, "ok: chain %s, %d links\n", config.Name, len(config.Links))
	return exitOK
}

// closeTimeout bounds how long a plugin may take to end.
const closeTimeout = 5 * time.Second

// checkDriver lets the driver of a link check its section.
func checkDriver(ctx context.Context, chainName string, link *chain.Link) error {
	if link.Driver != "" {
		d, err := driver.Lookup(link.Driver)
		if err != nil {
			return err
		}
		return d.Validate(link.Config)
	}
	store, err := plugins.Launch(ctx, plugins.Spec{Path: link.Plugin, Args: link.Args, SHA256: link.SHA256,
		Chain: chainName, Link: link.Name, Config: link.Config})
	if err != nil {
		return err
	}
	// A Ctrl-C must not leave the process behind.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return store.Close(ctx)
}

func configShow(_ context.Context, p *program, path string, args []string) int {
	fs := flags(path, "", "Shows every value of a configuration, a line each, with where it comes from. Secrets are redacted.")
	var o conf.Options
	o.AddFlags(fs)
	if _, status, done := p.parse(fs, args, 0); done {
		return status
	}
	c, err := conf.Load(o)
	if err != nil {
		return p.fail(path, err)
	}
	if err := c.Show(p.stdout); err != nil {
		return p.fail(path, err)
	}
	return exitOK
}

func configDefaults(_ context.Context, p *program, path string, args []string) int {
	fs := flags(path, "", "Writes the defaults as a configuration file. It lacks the name of the chain and its links, which have none.")
	if _, status, done := p.parse(fs, args, 0); done {
		return status
	}
	if err := conf.WriteDefaults(p.stdout); err != nil {
		return p.fail(path, err)
	}
	return exitOK
}
