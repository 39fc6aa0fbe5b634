// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// reservedPrefix begins the ids and kinds of the workflows that the chain starts
// for itself. Applications neither see nor touch them. As they bring standbys
// back, they never wait for standbys.
const reservedPrefix = "understudy."

// reserved reports whether an id or kind is the chain's own.
func reserved(name string) bool { return strings.HasPrefix(name, reservedPrefix) }

// refuseReserved refuses the ids and kinds that applications may not use.
func refuseReserved(names ...string) error {
	i := slices.IndexFunc(names, reserved)
	if i < 0 {
		return nil
	}
	return &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf(
		"%.80q begins with %q, which is kept for workflows of the chain itself: choose another name", names[i], reservedPrefix)}
}

// withoutReserved leaves out the records that are the chain's own.
func withoutReserved(records []driver.Record) []driver.Record {
	return slices.DeleteFunc(records, func(r driver.Record) bool { return reserved(r.Kind) })
}
