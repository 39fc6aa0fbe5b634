// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

const aboutPlugin = `Serves a linked driver as a plugin, so that this program is all that has to be installed:
name it as the plugin of a link, with "plugin" and the driver as its arguments. It is started by a host
and does not run by itself. "understudy drivers" lists the drivers.`

// plugin serves a linked driver until its host has gone or wants it to end.
func plugin(_ context.Context, p *program, path string, args []string) int {
	operands, status, done := p.parse(flags(path, "<driver>", aboutPlugin), args, 1)
	if done {
		return status
	}
	d, err := driver.Lookup(operands[0])
	if err != nil {
		return p.misuse(path, err)
	}
	if err := plugins.Serve(d); err != nil {
		return p.fail(path, err)
	}
	return exitOK
}
