// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func batchCases() []Case {
	const area = "Batch"
	return []Case{
		{Area: area, Name: "HasAVerdictForEach", run: batchVerdicts,
			Sentence: "A batch is not a transaction: each transition has its own verdict, and each is applied as a whole or not at all."},
		{Area: area, Name: "AppliesInItsOrder", run: batchOrder,
			Sentence: "The transitions of one record are applied in the order of the batch."},
		{Area: area, Name: "GoesOnBehindARefusal", run: batchBehindRefusal,
			Sentence: "The transitions of one record are applied in the order of the batch, each with its own verdict."},
		{Area: area, Name: "MayBeEmpty", run: batchEmpty,
			Sentence: "CommitResponse has one verdict for each transition: none for none."},
		{Area: area, Name: "TakesTheLargest", run: batchLargest,
			Sentence: "CommitRequest: at most MaxBatch transitions of at most MaxBatchBytes together. What every store must accept."},
		{Area: area, Name: "IsRefusedAsAWhole", run: batchTooLarge,
			Sentence: "The method's own error means that no record was applied."},
	}
}

func batchVerdicts(e *env) {
	c := e.open()
	c.advance(2, driver.Serving)
	taken, moved := c.start("taken"), c.start("moved")
	known := c.newStart("known")
	c.apply(known)
	wrongBase := c.must(driver.Cancel(c.stamp(), moved, "no", time.Time{}))
	wrongBase.Base = driver.NewToken()
	noKind := c.newStart("no-kind")
	noKind.Record.Kind = ""
	large := c.newStart("large")
	large.Record.Input = make([]byte, driver.MaxRecordBytes)
	otherEpoch := c.newStart("other-epoch")
	otherEpoch.Record.Epoch = 1

	batch := []struct {
		t    driver.Transition
		want driver.Class
	}{
		{c.newStart("first"), 0},
		{c.newStart("taken"), driver.Exists},
		{wrongBase, driver.Conflict},
		{c.must(driver.Cancel(c.stamp(), c.newStart("missing").Record, "no", time.Time{})), driver.NotFound},
		{c.newStart("middle"), 0},
		{noKind, driver.Invalid},
		{large, driver.TooLarge},
		{otherEpoch, driver.Invalid},
		{known, 0},
		{c.newStart("last"), 0},
	}
	ts := make([]driver.Transition, len(batch))
	for i := range batch {
		ts[i] = batch[i].t
	}
	for i, v := range c.send(ts...).Verdicts {
		id, want := ts[i].Record.ID, batch[i].want
		require.Equal(e, want, driver.ClassOf(v.Err), "verdict of %q: %v", id, v.Err)
		require.Equal(e, want == 0 && id != "known", v.Applied, "%q is applied", id)
	}
	for _, id := range []string{"missing", "no-kind", "large", "other-epoch"} {
		c.lacks(id)
	}
	for _, r := range []driver.Record{taken, moved, known.Record, ts[0].Record, ts[4].Record, ts[9].Record} {
		c.holds(r)
	}
}

func batchOrder(e *env) {
	c := e.open()
	ts := c.life("a")
	other := c.newStart("b")
	c.apply(ts[0], ts[1], other, ts[2], ts[3])
	c.holds(ts[3].Record)
	c.holds(other.Record)
}

// life returns the transitions of a workflow from its start to its end.
func (c *conn) life(id string) []driver.Transition {
	c.e.Helper()
	started := c.newStart(id)
	s := c.stamp()
	claimed := c.must(driver.Claim(s, started.Record, "worker", s.Now.Add(time.Hour)))
	saved := c.must(driver.Save(c.stamp(claimed.Record), claimed.Record, "step", []byte("state"), claimed.Record.Due))
	ended := c.must(driver.Succeed(c.stamp(saved.Record), saved.Record, []byte("output"), time.Time{}))
	return []driver.Transition{started, claimed, saved, ended}
}

func batchBehindRefusal(e *env) {
	c := e.open()
	ts := c.life("a")
	backwards := c.send(ts[1], ts[0], ts[2], ts[1]).Verdicts
	e.refused(backwards[0].Err, driver.NotFound)
	require.NoError(e, backwards[1].Err)
	e.refused(backwards[2].Err, driver.Conflict)
	e.same(&ts[0].Record, e.carried(backwards[2].Err).Stored)
	require.NoError(e, backwards[3].Err)
	c.holds(ts[1].Record)
}

func batchEmpty(e *env) {
	c := e.open()
	require.Empty(e, c.send().Verdicts)
	require.Empty(e, c.merge())
}

func batchLargest(e *env) {
	c := e.open()
	many := make([]driver.Transition, driver.MaxBatch)
	for i, id := range numbered("many", len(many)) {
		many[i] = c.newStart(id)
	}
	c.apply(many...)
	resp, err := c.Get(e.Context(), driver.GetRequest{IDs: numbered("many", len(many))})
	require.NoError(e, err)
	require.Len(e, resp.Records, len(many))
	for i := range many {
		e.same(&many[i].Record, &resp.Records[i])
	}

	heavy := c.heaviest()
	c.apply(heavy...)
	for _, t := range heavy {
		c.holds(t.Record)
	}
}

// heaviest returns starts of the largest records, as many as one batch holds.
func (c *conn) heaviest() []driver.Transition {
	c.e.Helper()
	heavy := make([]driver.Transition, driver.MaxBatchBytes/driver.MaxRecordBytes)
	for i, id := range numbered("heavy", len(heavy)) {
		heavy[i] = c.newStart(id)
		fill(&heavy[i].Record, driver.MaxRecordBytes)
	}
	return heavy
}

// fill gives r an input with which its encoding has exactly size bytes.
func fill(r *driver.Record, size int) {
	r.Input = nil
	n := size - driver.EncodedSize(r)
	for range 2 { // the length of the input's length is part of the size
		r.Input = make([]byte, n)
		n -= driver.EncodedSize(r) - size
	}
	for i := range r.Input {
		r.Input[i] = byte(i * 7)
	}
}

func batchTooLarge(e *env) {
	c := e.open()
	many := make([]driver.Transition, driver.MaxBatch+1)
	for i, id := range numbered("many", len(many)) {
		many[i] = c.newStart(id)
	}
	c.refusesBatch(many, "257", "256")
	c.refusesBatch(append(c.heaviest(), c.newStart("straw")), "8388608")
}

func (c *conn) refusesBatch(ts []driver.Transition, text ...string) {
	c.e.Helper()
	_, err := c.Commit(c.e.Context(), driver.CommitRequest{Guard: c.guard(), Transitions: ts})
	c.e.refused(err, driver.TooLarge, text...)
	c.lacks(ts[0].Record.ID)

	records := make([]driver.Record, len(ts))
	for i := range ts {
		records[i] = ts[i].Record
	}
	_, err = c.Merge(c.e.Context(), driver.MergeRequest{Guard: c.guard(), Records: records})
	c.e.refused(err, driver.TooLarge, text...)
	c.lacks(ts[0].Record.ID)
}
