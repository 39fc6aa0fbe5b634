// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func epochCases() []Case {
	const area = "Epoch"
	return []Case{
		{Area: area, Name: "IsZeroAtFirst", run: epochZero,
			Sentence: "Epoch returns the epoch record of the store, the zero Epoch if it was never advanced."},
		{Area: area, Name: "AdvancesByCompareAndSet", run: epochAdvances,
			Sentence: "Advance replaces the epoch record by compare-and-set."},
		{Area: area, Name: "KeepsEveryField", run: epochFields,
			Sentence: "Epoch is the record of one decision: number, version, token, active link, state and in-sync set."},
		{Area: area, Name: "RefusesAnotherExpectation", run: epochConflict,
			Sentence: "AdmitAdvance: Conflict if e is not what was expected. Fenced and Conflict carry e."},
		{Area: area, Name: "RefusesLowerNumbers", run: epochFenced,
			Sentence: "AdmitAdvance: Fenced if e has a higher number than next. Fenced and Conflict carry e."},
		{Area: area, Name: "TakesRepeats", run: epochRepeats,
			Sentence: "AdmitAdvance: (false, nil) for a repeat of the change that made e."},
		{Area: area, Name: "RefusesWhatDoesNotFollow", run: epochInvalid,
			Sentence: "AdmitAdvance: Invalid if next does not follow expect."},
		{Area: area, Name: "HasOneWinner", run: epochOneWinner,
			Sentence: "Advance replaces the epoch record by compare-and-set: of several at once, one succeeds."},
	}
}

func (c *conn) tryAdvance(expect driver.EpochVersion, next driver.Epoch) error {
	_, err := c.Advance(c.e.Context(), driver.AdvanceRequest{Expect: expect, Next: next})
	return err
}

func (c *conn) stands(want driver.Epoch) {
	c.e.Helper()
	got := c.epochNow()
	require.True(c.e, want.Equal(got), "the epoch is %s, want %s", got, want)
}

func epochZero(e *env) {
	c := e.open()
	c.stands(driver.Epoch{})
	c.start("a")
	c.stands(driver.Epoch{})
}

func epochAdvances(e *env) {
	c := e.open()
	other := e.share(c)
	for _, number := range []uint64{1, 1, 1, 2, 7, 7, 100, 101} {
		next := c.advance(number, driver.EpochState(number%2))
		c.stands(next)
		other.stands(next)
	}
}

func epochFields(e *env) {
	c := e.open()
	var links []string
	var known []driver.LinkIncarnation
	for i := range driver.MaxLinks {
		links = append(links, fmt.Sprintf("link-%02d", i))
		known = append(known, driver.LinkIncarnation{Link: links[i], Incarnation: math.MaxUint64 - uint64(i)})
	}
	was := driver.Epoch{}
	for _, next := range []driver.Epoch{
		{Number: 1, Active: "redis", InSync: []string{"eventstore"}},
		{Number: 1, Version: 1, Active: "redis"},
		{Number: 1, Version: 2, Active: "redis", Incarnations: []driver.LinkIncarnation{{Link: "redis", Incarnation: 1<<53 + 1}}},
		{Number: 1, Version: 9, Active: "redis", InSync: links, Incarnations: known},
		{Number: 2, Version: 40, Active: "0", State: driver.Handover, InSync: []string{"a.b-c_d"}},
		{Number: 1<<53 + 1, Version: math.MaxUint64 - 1, Active: text(64), InSync: []string{"a", "b"}},
		{Number: 1<<53 + 1, Version: math.MaxUint64, Active: "eventstore", State: driver.Handover},
		{Number: math.MaxUint64, Active: "redis"},
	} {
		next.Token = driver.NewToken()
		require.NoError(e, c.tryAdvance(was.At(), next))
		c.stands(next)
		e.share(c).stands(next)
		was = next
	}
}

func epochConflict(e *env) {
	c := e.open()
	held := c.advance(5, driver.Serving)
	held = c.advance(held.Number, driver.Serving)
	for _, expect := range []driver.EpochVersion{{}, {Number: 4}, {Number: 5}, {Number: 5, Version: 2}, {Number: 6}} {
		next := driver.Epoch{Number: 7, Token: driver.NewToken(), Active: "other"}
		err := e.share(c).tryAdvance(expect, next)
		e.refused(err, driver.Conflict)
		carried := e.carried(err).Epoch
		require.NotNil(e, carried, "the error carries the epoch")
		require.True(e, held.Equal(*carried), "the error carries %s, want %s", carried, held)
		c.stands(held)
	}
}

func epochFenced(e *env) {
	c := e.open()
	held := c.advance(5, driver.Serving)
	for _, expect := range []driver.EpochVersion{{}, {Number: 3}, {Number: 4}} {
		next := driver.Epoch{Number: 4, Token: driver.NewToken(), Active: "other"}
		if expect.Number == next.Number {
			next.Version = expect.Version + 1
		}
		err := e.share(c).tryAdvance(expect, next)
		e.refused(err, driver.Fenced)
		carried := e.carried(err).Epoch
		require.NotNil(e, carried, "the error carries the epoch")
		require.True(e, held.Equal(*carried), "the error carries %s, want %s", carried, held)
		c.stands(held)
	}
}

func epochRepeats(e *env) {
	c := e.open()
	was := driver.Epoch{}
	for _, next := range []driver.Epoch{
		{Number: 3, Token: driver.NewToken(), Active: "a", InSync: []string{"b"}},
		{Number: 3, Version: 1, Token: driver.NewToken(), Active: "a"},
	} {
		for range 3 {
			require.NoError(e, c.tryAdvance(was.At(), next), "a repeat is a success")
			require.NoError(e, e.share(c).tryAdvance(was.At(), next), "a repeat is a success")
			c.stands(next)
		}
		was = next
	}
	twin := was
	twin.Token = driver.NewToken()
	e.refused(c.tryAdvance(driver.EpochVersion{Number: 3}, twin), driver.Conflict)
	c.stands(was)
}

func epochInvalid(e *env) {
	c := e.open()
	held := c.advance(5, driver.Serving)
	good := driver.Epoch{Number: 6, Token: driver.NewToken(), Active: "a"}
	for name, spoil := range map[string]func(*driver.EpochVersion, *driver.Epoch){
		"version repeated": func(_ *driver.EpochVersion, n *driver.Epoch) { n.Number, n.Version = 5, 0 },
		"number back":      func(_ *driver.EpochVersion, n *driver.Epoch) { n.Number = 4 },
		"number zero":      func(x *driver.EpochVersion, n *driver.Epoch) { *x, n.Number, n.Version = driver.EpochVersion{}, 0, 1 },
		"no token":         func(_ *driver.EpochVersion, n *driver.Epoch) { n.Token = driver.Token{} },
		"unknown state":    func(_ *driver.EpochVersion, n *driver.Epoch) { n.State = 2 },
		"no active link":   func(_ *driver.EpochVersion, n *driver.Epoch) { n.Active = "" },
		"bad link name":    func(_ *driver.EpochVersion, n *driver.Epoch) { n.InSync = []string{"Not Valid"} },
		"unsorted":         func(_ *driver.EpochVersion, n *driver.Epoch) { n.InSync = []string{"b", "a"} },
		"unsorted incarnations": func(_ *driver.EpochVersion, n *driver.Epoch) {
			n.Incarnations = []driver.LinkIncarnation{{Link: "b"}, {Link: "a"}}
		},
		"repeated incarnation": func(_ *driver.EpochVersion, n *driver.Epoch) {
			n.Incarnations = []driver.LinkIncarnation{{Link: "a"}, {Link: "a", Incarnation: 1}}
		},
		"incarnation of a bad link name": func(_ *driver.EpochVersion, n *driver.Epoch) {
			n.Incarnations = []driver.LinkIncarnation{{Link: "Not Valid"}}
		},
	} {
		expect, next := held.At(), good
		spoil(&expect, &next)
		err := c.tryAdvance(expect, next)
		require.Equal(e, driver.Invalid, driver.ClassOf(err), "%s: %v", name, err)
		c.stands(held)
	}
	next := good
	for i := range driver.MaxLinks + 1 {
		next.InSync = append(next.InSync, fmt.Sprintf("link-%02d", i))
	}
	e.refused(c.tryAdvance(held.At(), next), driver.TooLarge, "in-sync", "17")
	c.stands(held)
	next = good
	for i := range driver.MaxLinks + 1 {
		next.Incarnations = append(next.Incarnations, driver.LinkIncarnation{Link: fmt.Sprintf("link-%02d", i)})
	}
	e.refused(c.tryAdvance(held.At(), next), driver.TooLarge, "incarnations", "17")
	c.stands(held)
}

func epochOneWinner(e *env) {
	conns := e.several(3)
	was := driver.Epoch{}
	for round := range uint64(8) {
		attempts := make([]driver.Epoch, contenders)
		for i := range attempts {
			attempts[i] = driver.Epoch{Number: round + 1, Token: driver.NewToken(), Active: fmt.Sprint("link-", i)}
		}
		var winner atomic.Int64
		winner.Store(-1)
		e.all(len(attempts), func(i int) error {
			err := conns[i%len(conns)].tryAdvance(was.At(), attempts[i])
			switch {
			case err == nil && !winner.CompareAndSwap(-1, int64(i)):
				return fmt.Errorf("both advance %d and advance %d succeeded", winner.Load(), i)
			case err != nil && driver.ClassOf(err) != driver.Conflict:
				return fmt.Errorf("want a conflict: %w", err)
			}
			return nil
		})
		require.NotEqual(e, int64(-1), winner.Load(), "one succeeds")
		was = attempts[winner.Load()]
		for _, c := range conns {
			c.stands(was)
		}
	}
}
