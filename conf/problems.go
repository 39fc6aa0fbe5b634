// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Origin Origin // where it stands
	Key    string // such as policy.timeout; empty: the file as a whole
	Detail string // what is wrong, and the form expected; never a secret
}

// String returns the problem for people: place, key, detail.
func (p Problem) String() string {
	if p.Key == "" {
		return fmt.Sprintf("%s: %s", p.Origin, p.Detail)
	}
	return fmt.Sprintf("%s: %s: %s", p.Origin, p.Key, p.Detail)
}

// Problems is the error of a configuration that cannot be used: all that is wrong
// with it.
type Problems []Problem

// Error implements error: one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// sorted brings those of the file into its order, before all others.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(b.Origin.File, a.Origin.File), cmp.Compare(a.Origin.Line, b.Origin.Line))
	})
	return p
}

// Origin is where a value comes from. The zero value is the defaults.
type Origin struct {
	File string // path of the configuration file
	Line int    // in File, from 1; 0: no certain line
	Env  string // name of the environment variable
	Flag string // key that was set on the command line
}

// String returns the origin for people.
func (o Origin) String() string {
	switch {
	case o.Flag != "":
		return "-set " + o.Flag
	case o.Env != "":
		return "environment " + o.Env
	case o.File != "" && o.Line > 0:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case o.File != "":
		return o.File
	}
	return "default"
}
