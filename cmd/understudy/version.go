// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/understudy-dev/understudy/driver"
)

// version shows what this program is built from.
func version(_ context.Context, p *program, path string, args []string) int {
	fs := flags(path, "", "Shows the version of this program, of the source it is built from, and of the driver contract.")
	if _, status, done := p.parse(fs, args, 0); done {
		return status
	}
	number, revision := "(unknown)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		number, revision = built(info)
	}
	fmt.Fprintf(p.stdout, "understudy %s%s\ncontract %d\n%s %s/%s\n",
		number, revision, driver.Contract, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}

// built returns the version of the main module, and what is known of the commit.
func built(info *debug.BuildInfo) (number, revision string) {
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " commit " + s.Value[:min(12, len(s.Value))] + revision
		case s.Key == "vcs.modified" && s.Value == "true":
			revision += " (modified)"
		}
	}
	return info.Main.Version, revision
}
