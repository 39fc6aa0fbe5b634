// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// list returns the workflows of a store, all or those of some statuses, by id.
func list(t testing.TB, store driver.Store, statuses ...driver.Status) (map[string]driver.Record, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all := map[string]driver.Record{}
	req := driver.ListRequest{Kinds: []string{kind}, Statuses: statuses, Limit: driver.MaxBatch}
	for {
		page, err := store.List(ctx, req)
		if err != nil {
			return nil, err
		}
		for i := range page.Records {
			all[page.Records[i].ID] = page.Records[i]
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return all, nil
		}
	}
}

// listAnew is list of all workflows, by a store that is opened for it.
func (w *world) listAnew(t testing.TB, link string) map[string]driver.Record {
	t.Helper()
	store := w.open(t, link)
	defer hangUp(t, store)
	var all map[string]driver.Record
	await(t, "list of "+link, func() (err error) {
		all, err = list(t, store)
		return err
	})
	return all
}

// settle lets the hosts finish what is begun: nothing more is started, and
// everything ends.
func (w *world) settle(t testing.TB) {
	t.Helper()
	for _, h := range w.hosts {
		if h.lives() {
			h.command(t, quietCommand)
		}
	}
	await(t, "the hosts are quiet", func() error {
		for _, h := range w.hosts {
			told := h.entries(t)
			if h.lives() && !slices.ContainsFunc(told, func(e entry) bool { return e.Tell == quiet }) {
				return fmt.Errorf("%s waits for a start", h.name)
			}
		}
		return nil
	})
	await(t, "everything is done", func() error {
		active, known := w.stores[w.epoch(t).Active]
		if !known {
			return errors.New("no link tells which one is active")
		}
		left, err := list(t, active, driver.Ready, driver.Leased, driver.Waiting)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%d workflows are not done, among them %s", len(left), slices.Sorted(maps.Keys(left))[0])
		}
		return err
	})
}

// finish waits until the chain is as it was in the beginning, ends the load and
// checks the books. Both links must hold the same.
func (w *world) finish(t testing.TB) {
	t.Helper()
	w.home(t)
	w.settle(t)
	w.whole(t)
	var plugins []int
	died := false
	for _, h := range w.hosts {
		died = died || !h.lives()
		if h.lives() {
			plugins = slices.AppendSeq(plugins, maps.Keys(h.plugins(t)))
		}
	}
	for _, h := range w.hosts {
		if h.lives() {
			h.stop(t)
		}
	}
	for _, pid := range plugins {
		await(t, "no plugin is left behind", func() error { return gone(pid) })
	}
	w.summary(t, w.entries(t))
	final := w.listAnew(t, first)
	told := w.entries(t)
	faults := balance(told, slices.Collect(maps.Values(final)), stepsOfAll)
	const most = 20
	require.Empty(t, strings.Join(faults[:min(most, len(faults))], "\n"), "the books do not balance: %d faults", len(faults))
	agree(t, told, final, w.listAnew(t, second), died)
}

// agree: both links hold the same records. The one exception is a transition of a
// host that has died, of which nobody was told. Everything that was acknowledged is
// in both.
func agree(t testing.TB, told []entry, final, held map[string]driver.Record, died bool) {
	t.Helper()
	acknowledged := map[string]uint64{}
	for _, e := range told {
		acknowledged[e.ID] = max(acknowledged[e.ID], e.Revision)
	}
	unknown := 0
	for id, want := range final {
		have := held[id] // the zero record is of revision 0
		if died && want.Revision > acknowledged[id] && have.Revision >= acknowledged[id] && have.Revision < want.Revision {
			unknown++
			continue
		}
		require.True(t, driver.Equal(&want, &have), "%s holds %+v, and %s %+v", second, have, first, want)
	}
	for id := range held {
		require.Contains(t, final, id, "it is in %s only", second)
	}
	if unknown > 0 {
		t.Logf("%d transitions that nobody was told of are in %s only", unknown, first)
	}
}
