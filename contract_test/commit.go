// SPDX-License-Identifier: Apache-2.0

package contracttest

import "github.com/understudy-dev/understudy/driver"

func commitCases() []Case {
	const area = "Commit"
	return []Case{
		{Area: area, Name: "CreatesAndMovesOn", run: commitMovesOn,
			Sentence: "Commit applies each transition whose base the store holds, and each is applied before Commit returns."},
	}
}

func commitMovesOn(e *env) {
	c := e.open()
	r := c.start("a")
	c.holds(r)
	requeued := c.must(driver.Cancel(c.stamp(), r, "not needed", r.Due))
	c.apply(requeued)
	c.holds(requeued.Record)
}
