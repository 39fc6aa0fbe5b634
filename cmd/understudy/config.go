// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/driver"
)

func configCommands() []command {
	return []command{
		{name: "check", about: "tell all that is wrong with a configuration", run: configCheck},
		{name: "show", about: "show every value and where it comes from, secrets redacted", run: configShow},
		{name: "defaults", about: "write the defaults as a configuration file", run: configDefaults},
	}
}

const aboutCheck = `Tells all that is wrong with a configuration, as a host would find it at its start: each driver checks its
own section, for which a plugin is started and ended again, no link may be less protected than the first one, and reports
can be written. The stores themselves need not answer.`

func configCheck(ctx context.Context, p *program, path string, args []string) int {
	fs := flags(path, "", aboutCheck)
	var o conf.Options
	o.AddFlags(fs)
	static := fs.Bool("static", false, "look at the file and at the sections of linked drivers alone: start no plugins, look at no folder")
	if _, status, done := p.parse(fs, args, 0); done {
		return status
	}
	c, err := conf.Load(o)
	if err != nil {
		return p.fail(path, err)
	}
	config := c.ChainConfig()
	if *static {
		err = checkLinked(config.Links)
	} else {
		err = chain.CheckLinks(ctx, config)
	}
	if err != nil {
		return p.fail(path, err)
	}
	fmt.Fprintf(p.stdout, "ok: chain %s, %d links\n", config.Name, len(config.Links))
	return exitOK
}

// checkLinked lets the drivers that are linked into this program check their
// sections.
func checkLinked(links []chain.Link) error {
	var wrong []error
	for i := range links {
		if links[i].Driver == "" {
			continue
		}
		d, err := driver.Lookup(links[i].Driver)
		if err == nil {
			err = d.Validate(links[i].Config)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("link %q: %w", links[i].Name, err))
		}
	}
	return errors.Join(wrong...)
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
