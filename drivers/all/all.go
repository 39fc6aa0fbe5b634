// SPDX-License-Identifier: Apache-2.0

// Package all links drivers into a program: import it for its side effect, and
// driver.Lookup finds them. Only programs import it.
//
// A plain build links every driver. With the build tag custom only those are
// linked that are named by a tag of their own: -tags custom,drivers.redis links
// Redis alone, -tags custom,drivers links all.
package all

// Known is a driver of this module.
type Known struct {
	Name    string // of the driver, its folder, its link file and its tag drivers.<name>
	Modules []string
}

// table has a row for each driver; a test compares it with the folders, the link
// files and the Makefile.
var table = []Known{
	{Name: "eventstore", Modules: []string{"github.com/EventStore/EventStore-Client-Go/v4"}},
	{Name: "memory"},
	{Name: "redis", Modules: []string{"github.com/redis/rueidis"}},
}

// Table returns the drivers of this module, linked or not, sorted by name. Modules
// are those that a driver brings along and no other does.
func Table() []Known { return append([]Known(nil), table...) }
