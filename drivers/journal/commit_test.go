// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// TestBatchOnIdsThatJustExpiredIsSentOnceMore sends first and second revisions
// while the records that had the ids before leave unseen. The first append counts
// for nothing then, whether its answer arrives or not, and what follows on it is
// sent once more with it.
func TestBatchOnIdsThatJustExpiredIsSentOnceMore(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]error{"with an answer": nil, "without an answer": errCut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newFaultyLog()
			m := ready(t, l)
			require.NoError(t, commitOne(t.Context(), m, started(t, "a")))
			require.NoError(t, commitOne(t.Context(), m, started(t, "b")))
			l.expireBeforeAppends([]string{"a", "b"}, []string{"b"})
			l.change(func() { l.after = func() error { return answer } })
			first, second := map[string]driver.Transition{}, map[string]driver.Transition{}
			for _, id := range []string{"a", "b", "c"} {
				first[id] = started(t, id)
				tr, err := driver.Cancel(driver.Stamp{Token: driver.NewToken(), Now: time.Now()}, first[id].Record, "", time.Time{})
				require.NoError(t, err)
				second[id] = tr
			}
			req := driver.CommitRequest{Transitions: []driver.Transition{
				first["c"], second["c"], first["a"], first["b"], second["a"], second["b"],
			}}
			before := l.length()
			resp, err := m.Commit(within(t, time.Minute), req)
			require.NoError(t, err)
			for i, v := range resp.Verdicts {
				require.NoError(t, v.Err, i)
				require.True(t, v.Applied, i)
			}
			require.Equal(t, before+2+6+1+4+2, l.length(), "two expiries, all six, one expiry, the four on ids that expired, the two on the one that did again")
			got, err := m.Get(t.Context(), driver.GetRequest{IDs: []string{"a", "b", "c"}})
			require.NoError(t, err)
			require.Len(t, got.Records, 3)
			for _, r := range got.Records {
				require.Equal(t, driver.Cancelled, r.Status, r.ID)
			}
		})
	}
}

// TestCommitThatIsSentOnceMoreInVainMayHaveBeenDone loses the second append of a
// batch of which a part was decided by the first.
func TestCommitThatIsSentOnceMoreInVainMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ids  []string
		want driver.Class
	}{
		{"all expired", []string{"a"}, driver.Denied},
		{"a part was applied", []string{"a", "c"}, driver.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newFaultyLog()
			m := ready(t, l)
			require.NoError(t, commitOne(t.Context(), m, started(t, "a")))
			l.expireBeforeAppends([]string{"a"})
			l.change(func() {
				l.after = func() error {
					l.change(func() { l.before = func() error { return &driver.Error{Class: driver.Denied, Detail: "no more"} } })
					return errCut
				}
			})
			var req driver.CommitRequest
			for _, id := range c.ids {
				req.Transitions = append(req.Transitions, started(t, id))
			}
			_, err := m.Commit(within(t, time.Minute), req)
			require.Equal(t, c.want, driver.ClassOf(err), "%v", err)
		})
	}
}

// expireBeforeAppends writes expiries just before each of the next appends, which
// are not known to its author.
func (l *faultyLog) expireBeforeAppends(ids ...[]string) {
	l.change(func() {
		l.before = func() error {
			l.change(func() {
				if len(ids) == 0 {
					return
				}
				o := &Origin{Batch: &Batch{ID: driver.NewToken()}, After: Position(len(l.events))}
				for i, id := range ids[0] {
					l.events = append(l.events, Event{Kind: Expired, Data: []byte(id), Origin: o, Index: uint32(i)})
				}
				ids = ids[1:]
			})
			return nil
		}
	})
}
