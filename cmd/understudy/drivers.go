// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/all"
)

// drivers lists the linked drivers.
func drivers(_ context.Context, p *program, path string, args []string) int {
	fs := flags(path, "", "Lists the drivers that are linked into this program, each with its version, and how to get the others.")
	if _, status, done := p.parse(fs, args, 0); done {
		return status
	}
	linked := driver.Names()
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, name := range linked {
		d, err := driver.Lookup(name)
		if err != nil {
			return p.fail(path, err)
		}
		fmt.Fprintf(table, "%s\tversion %s\n", d.Name, d.Version)
	}
	if err := table.Flush(); err != nil {
		return p.fail(path, err)
	}
	var missing, tags []string
	for _, known := range all.Table() {
		if !slices.Contains(linked, known.Name) {
			missing, tags = append(missing, known.Name), append(tags, "drivers."+known.Name)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(p.stdout, "not linked: %s (build without the tag custom, or with -tags custom,%s)\n",
			strings.Join(missing, ", "), strings.Join(tags, ","))
	}
	return exitOK
}
