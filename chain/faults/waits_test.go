// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

// await waits until the condition gives nil.
func await(t testing.TB, what string, condition func() error) {
	t.Helper()
	awaitEvery(t, 100*time.Millisecond, what, condition)
}

func awaitEvery(t testing.TB, interval time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(deadline), "waited %s: %s: %v", patience, what, err)
		<-tick.C
	}
}

// held returns the epoch record that a link holds now.
func (w *world) held(t testing.TB, link string) (driver.Epoch, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	resp, err := w.stores[link].Epoch(ctx, driver.EpochRequest{})
	return resp.Epoch, err
}

// epoch returns the newest epoch record that any link holds now.
func (w *world) epoch(t testing.TB) driver.Epoch {
	t.Helper()
	var newest driver.Epoch
	for _, link := range []string{first, second} {
		e, err := w.held(t, link)
		if err == nil && cmp.Or(cmp.Compare(e.Number, newest.Number), cmp.Compare(e.Version, newest.Version)) > 0 {
			newest = e
		}
	}
	return newest
}

// whole waits until the first link is active and the second in step, and both know.
func (w *world) whole(t testing.TB) {
	t.Helper()
	await(t, "redis is active and eventstore in step", func() error {
		e, err := w.held(t, first)
		copied, err2 := w.held(t, second)
		switch {
		case err != nil || err2 != nil:
			return errors.Join(err, err2)
		case e.Active != first || !slices.Contains(e.InSync, second) || e.State != driver.Serving:
			return fmt.Errorf("the epoch is %s in sync %v", e, e.InSync)
		case !e.Equal(copied):
			return fmt.Errorf("the epoch is %s, and eventstore holds %s", e, copied)
		}
		return nil
	})
}

// home waits until the chain has come back by itself, and works.
func (w *world) home(t testing.TB) {
	t.Helper()
	w.whole(t)
	w.progress(t, 20)
}

// active waits until a link is active.
func (w *world) active(t testing.TB, link string) {
	t.Helper()
	await(t, link+" is active", func() error {
		if e := w.epoch(t); e.Active != link {
			return fmt.Errorf("the epoch is %s in sync %v", e, e.InSync)
		}
		return nil
	})
}

// entries returns what all hosts have written so far.
func (w *world) entries(t testing.TB) []entry {
	t.Helper()
	var all []entry
	for _, h := range w.hosts {
		all = append(all, h.entries(t)...)
	}
	return all
}

func (w *world) count(t testing.TB, tell string) int {
	t.Helper()
	n := 0
	for _, h := range w.hosts {
		for _, e := range h.entries(t) {
			if e.Tell == tell {
				n++
			}
		}
	}
	return n
}

// progress waits until n more workflows have ended.
func (w *world) progress(t testing.TB, n int) {
	t.Helper()
	want := w.count(t, ended) + n
	await(t, "work goes on", func() error {
		if have := w.count(t, ended); have < want {
			return fmt.Errorf("%d workflows have ended, want %d", have, want)
		}
		return nil
	})
}
