// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"time"

	"github.com/understudy-dev/understudy/driver"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC)

func token(n byte) driver.Token { return driver.Token{15: n} }

// ready is a valid record with every field set that a ready record can have.
func ready() driver.Record {
	return driver.Record{
		ID: "call-1", Kind: "recording", Revision: 4, Epoch: 2, Token: token(4), Status: driver.Ready,
		Due: noon.Add(time.Minute), Attempt: 3, Step: "encode", State: []byte{0, 0xff}, Input: []byte("in"),
		Output: []byte("out"), Failure: "busy", Created: noon.Add(-time.Hour), Updated: noon,
		Labels: map[string]string{"b": "2", "a": "1"},
	}
}

// leased is a valid record leased until an hour after noon, by lease token 9.
func leased() driver.Record {
	r := ready()
	r.Status, r.Lease, r.Due = driver.Leased, driver.Lease{Owner: "host-1", Token: token(9)}, noon.Add(time.Hour)
	return r
}

// in returns a valid record of the given status.
func in(status driver.Status) driver.Record {
	switch status {
	case driver.Absent:
		return driver.Record{}
	case driver.Leased:
		return leased()
	}
	r := ready()
	r.Status = status
	if status.Finished() || status == driver.Held {
		r.Due = time.Time{}
	}
	if status.Finished() {
		r.Expires = noon.Add(24 * time.Hour)
	}
	return r
}
