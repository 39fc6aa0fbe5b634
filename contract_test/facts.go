// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func factCases() []Case {
	const describe, probe = "Describe", "Probe"
	return []Case{
		{Area: describe, Name: "TellsWhatItIs", run: describeFacts,
			Sentence: "DescribeResponse says what a store is and can do: its driver, the contract it was built with."},
		{Area: describe, Name: "DeclaresWhatIsExpected", run: describeCapabilities,
			Sentence: "Capabilities: what is declared has to work."},
		{Area: describe, Name: "IsConstant", run: describeConstant,
			Sentence: "Describe is constant over the life of a store."},
		{Area: describe, Name: "UndeclaredChangesAreUnsupported", run: describeNoChanges,
			Sentence: "CapChanges: the store has a change feed. Without it Changes is Unsupported."},
		{Area: describe, Name: "UndeclaredSharingIsUnsupported", run: describeNotShared,
			Sentence: "CapShared: without it a second Open of the same data is refused with Unsupported."},
		{Area: probe, Name: "ReportsAHealthyStore", run: probeHealthy,
			Sentence: "Probe writes a small value, reads it back, and reports on the health of the store."},
		{Area: probe, Name: "DisturbsNoRecord", run: probeDisturbs,
			Sentence: "Probe needs no epoch and disturbs no record."},
		{Area: probe, Name: "CountsRecords", run: probeCounts,
			Sentence: "Records: held now; -1: not known."},
		{Area: probe, Name: "MayRunAtOnce", run: probeAtOnce,
			Sentence: "Every method may be called from any number of goroutines at once."},
	}
}

func (c *conn) describe() driver.DescribeResponse {
	c.e.Helper()
	resp, err := c.Describe(c.e.Context(), driver.DescribeRequest{})
	require.NoError(c.e, err, "describe")
	return resp
}

func (c *conn) probe() driver.ProbeResponse {
	c.e.Helper()
	resp, err := c.Probe(c.e.Context(), driver.ProbeRequest{})
	require.NoError(c.e, err, "probe")
	return resp
}

func describeFacts(e *env) {
	resp := e.open().describe()
	require.Equal(e, driver.Contract, resp.Contract, "the version of the contract")
	require.NoError(e, driver.ValidateName("driver", resp.Driver))
	require.NotEmpty(e, resp.Version, "the version of the driver")
	require.LessOrEqual(e, resp.Protection, driver.MutualTLS)
}

func describeCapabilities(e *env) {
	resp := e.open().describe()
	for _, known := range driver.Capabilities() {
		require.Equal(e, e.h.Has(known), resp.Has(known), "the harness declares %q, and the driver declares %q", e.h.Capabilities, resp.Capabilities)
	}
}

func describeConstant(e *env) {
	c := e.open()
	first := c.describe()
	c.start("a")
	c.advance(1, driver.Handover)
	slices.Sort(first.Capabilities)
	for range 3 {
		again := c.describe()
		slices.Sort(again.Capabilities)
		require.Equal(e, first, again)
	}
}

func describeNoChanges(e *env) {
	if e.h.Has(driver.CapChanges) {
		return // then the area Changes has its say
	}
	c := e.open()
	err := c.Changes(e.Context(), driver.ChangesRequest{}, func(driver.ChangeBatch) error {
		return fmt.Errorf("a batch was fed")
	})
	e.refused(err, driver.Unsupported)
}

func describeNotShared(e *env) {
	if e.h.Has(driver.CapShared) {
		return // then nearly every case has its say
	}
	c := e.open()
	r := c.start("a")
	second, err := e.h.Open(e.T, e.chain)
	if err == nil {
		// Data that end with their process are not the same in another one.
		defer func() { _ = closeStore(second, e.closeTime()) }()
		mine, err := c.Get(e.Context(), driver.GetRequest{IDs: []string{r.ID}})
		require.NoError(e, err, "get")
		theirs, err := second.Get(e.Context(), driver.GetRequest{IDs: []string{r.ID}})
		require.NoError(e, err, "get")
		require.Empty(e, theirs.Records, "a second store opened, and on the same data")
		require.Equal(e, driver.Lost, driver.ClassOf(theirs.Marks.Check(mine.Marks)), "the marks of a second store, on data of its own, tell it from the first")
		return
	}
	e.refused(err, driver.Unsupported)
	c.holds(r)
}

func probeHealthy(e *env) {
	c := e.open()
	for _, on := range []*conn{c, e.share(c)} {
		resp := on.probe()
		for _, p := range slices.Concat(resp.Problems, resp.Warnings) {
			require.NotEmpty(e, p.Code, "a finding has a code")
			require.NotEmpty(e, p.Text, "the finding %s says what to do", p.Code)
		}
		require.Empty(e, resp.Problems, "a new store is fit to be active")
		require.True(e, resp.Healthy())
		require.NotEmpty(e, resp.Durability, "what an acknowledgement survives")
		require.GreaterOrEqual(e, resp.UsedBytes, int64(-1))
		require.GreaterOrEqual(e, resp.LimitBytes, int64(-1))
		require.Equal(e, resp.ReplayTotal, resp.ReplayDone, "a store that serves has nothing to catch up with")
	}
}

func probeDisturbs(e *env) {
	c := e.open()
	before := mixture(c, 9)
	c.advance(1, driver.Handover)
	epoch := c.epochNow()
	var f *feed
	if e.h.Has(driver.CapChanges) {
		f = c.follow(driver.ChangesRequest{})
	}
	for range 5 {
		e.share(c).probe()
	}
	require.ElementsMatch(e, ids(before), ids(c.list(driver.ListRequest{Limit: 100})))
	for _, r := range before {
		c.holds(r)
	}
	c.stands(epoch)
	if f != nil {
		marker := c.complete("marker")
		c.merge(marker)
		f.awaitAll([]driver.Record{marker})
		require.Len(e, f.changes(), 1, "a probe is no change: %v", f.changes())
	}
}

func probeCounts(e *env) {
	c := e.open()
	if first := c.probe().Records; first != -1 {
		require.Zero(e, first, "records of an empty store")
		mixture(c, 18)
		require.Equal(e, int64(18), c.probe().Records)
	}
}

func probeAtOnce(e *env) {
	conns := e.several(3)
	r := conns[0].start("a")
	e.all(60, func(i int) error {
		ctx, cancel := e.brief(e.h.timeout() / 2)
		defer cancel()
		_, err := conns[i%len(conns)].Probe(ctx, driver.ProbeRequest{})
		return err
	})
	conns[0].holds(r)
}
