// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/understudy-dev/understudy/driver"
)

// leaseRoom is what is kept free in every record that is not finished: a claim adds
// the name of its owner, and may add a byte to the length before it. A record
// without that room could never be handed out again.
const leaseRoom = driver.MaxOwnerBytes + 1

// unleased returns the size of r without a lease.
func unleased(r driver.Record) int {
	r.Lease = driver.Lease{}
	return driver.EncodedSize(&r)
}

// roomy returns t, unless its record would have no room for a lease.
func roomy(t driver.Transition, err error) (driver.Transition, error) {
	if err != nil {
		return t, err
	}
	if size := unleased(t.Record); size+leaseRoom > driver.MaxRecordBytes {
		return driver.Transition{}, &driver.Error{Class: driver.TooLarge, IDs: []string{t.Record.ID}, Detail: fmt.Sprintf(
			"the record has %d bytes: the limit is %d, of which %d are kept for the lease of a worker", size, driver.MaxRecordBytes, leaseRoom)}
	}
	return t, nil
}

// sparing makes a transition from r. Where there is no room for it, the failure of an
// earlier attempt goes.
func sparing(r driver.Record, transition func(driver.Record) (driver.Transition, error)) (driver.Transition, error) {
	t, err := transition(r)
	if driver.ClassOf(err) == driver.TooLarge && r.Failure != "" {
		r.Failure = ""
		return transition(r)
	}
	return t, err
}

// fitted returns as much of a reason as r has room for in its failure.
func fitted(r driver.Record, reason string) string {
	r.Failure = ""
	reason = strings.ToValidUTF8(reason, string(utf8.RuneError)) // before it is measured: it may grow

	const length = 1 // of the reason takes two bytes, not one
	room := max(driver.MaxRecordBytes-leaseRoom-length-unleased(r), 0)
	if len(reason) <= room {
		return reason
	}
	return strings.ToValidUTF8(reason[:room], "")
}
