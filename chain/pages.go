// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-dev/understudy/driver"
)

// crew works on a few pages at once. The first error ends all.
type crew struct {
	ctx   context.Context
	group *errgroup.Group
}

func newCrew(ctx context.Context) *crew {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pagesAtOnce)
	return &crew{ctx, group}
}

// do runs f as soon as fewer than pagesAtOnce are in work. The error is that the
// work has failed or ended.
func (w *crew) do(f func(ctx context.Context) error) error {
	w.group.Go(func() error { return f(w.ctx) })
	return w.ctx.Err()
}

func (w *crew) wait() error { return w.group.Wait() }

// pages goes through a list from the save point on, a few pages at once, and
// makes save points of its own between blocks of pages.
func (r *resync) pages(ctx context.Context, list func(context.Context, string) (driver.ListResponse, error), work func(context.Context, []driver.Record) error) error {
	for again := 0; ; {
		next, done, err := r.block(ctx, list, work)
		if err == errCursor && r.point.List != "" && again < targetTries && ctx.Err() == nil { //nolint:errorlint // it is never wrapped
			r.point.List, r.point.Done = "", 0
			again++
			continue
		}
		if err != nil {
			return err
		}
		r.point.List = next
		if err := r.progress(ctx, done, r.step); err != nil {
			return err
		}
		if next == "" {
			return nil
		}
	}
}

// errCursor says that a cursor is of another connection, or of before a restart.
var errCursor error = &driver.Error{Class: driver.CursorLost, Op: "list", Detail: "the list does not go on from its cursor"}

// block goes through some pages, for as long as there is to be no save point yet, and
// waits for all of them, so that everything before the cursor it returns is done. The error is errCursor if the list does not
// go on from next, which is not its beginning.
func (r *resync) block(ctx context.Context, list func(context.Context, string) (driver.ListResponse, error), work func(context.Context, []driver.Record) error) (next string, done int64, err error) {
	pages := newCrew(ctx)
	next = r.point.List
	began := time.Now()
	for n := 0; n < pagesPerBlock && time.Since(began) < saveEvery; n++ {
		started := time.Now()
		page, err := list(pages.ctx, next)
		if err != nil {
			class := driver.ClassOf(err)
			if failed := pages.wait(); failed != nil {
				err = failed
			} else if next != "" && (class == driver.Invalid || class == driver.CursorLost) {
				err = errCursor
			}
			return "", 0, err
		}
		done += int64(len(page.Records))
		next = page.Next
		if len(page.Records) > 0 {
			if pages.do(func(ctx context.Context) error { return work(ctx, page.Records) }) != nil {
				break
			}
		}
		r.pace(pages.ctx, started, len(page.Records))
		if next == "" {
			break
		}
	}
	return next, done, pages.wait()
}

// pace waits until a page of n records, which was begun at started, has taken as long
// as the rate in force wants. What is written meanwhile is not held up by it.
func (r *resync) pace(ctx context.Context, started time.Time, n int) {
	for ctx.Err() == nil {
		rate := r.c.policy().ResyncRate
		if rate == 0 || r.step == stepFollow {
			return
		}
		left := time.Until(started.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second))))
		if left <= 0 {
			return
		}
		pause(ctx, ctx, min(left, time.Second)) // the rate may change
	}
}

// progress notes that more records are done: it tells about it and makes a save point,
// each when it is time.
func (r *resync) progress(ctx context.Context, done int64, step string) error {
	r.point.Done += done
	if err := ctx.Err(); err != nil {
		return driver.ContextError(ctx, false)
	}
	if time.Since(r.told) >= progressEvery {
		r.told = time.Now()
		r.c.log.Info("resync goes on", zap.String("link", r.to.name), zap.String("step", r.step),
			zap.Int64("done", r.point.Done), zap.Int64("about", r.point.About))
		r.c.events.emit(ResyncProgress{At: now(), Link: r.to.name, Step: r.step, Done: r.point.Done, About: r.point.About})
	}
	if time.Since(r.saved) < saveEvery || step == stepCompare {
		return nil // findings are not in the save point: that step begins anew
	}
	return r.savePoint(ctx, step)
}

// sampleSize is how many records are compared when a link joins.
const sampleSize = 256

// sample holds ids chosen at random among all that were added, each with the same
// chance (Vitter, Random Sampling with a Reservoir, algorithm R).
type sample struct {
	ids   []string
	added int
}

func (s *sample) add(id string) {
	s.added++
	if len(s.ids) < sampleSize {
		s.ids = append(s.ids, id)
	} else if i := rand.IntN(s.added); i < sampleSize { //nolint:gosec // a sample, not a secret
		s.ids[i] = id
	}
}

// verify compares a sample of the records, field by field, while nobody writes.
func (r *resync) verify(ctx context.Context) error {
	ids := slices.Compact(slices.Sorted(slices.Values(r.sample.ids)))
	if len(ids) == 0 {
		return nil
	}
	var ours, theirs []driver.Record
	pair, ctx := errgroup.WithContext(ctx)
	pair.Go(func() (err error) {
		theirs, err = r.holds(ctx, ids)
		return err
	})
	pair.Go(func() (err error) {
		ours, err = r.v.active.get(ctx, ids...)
		return err
	})
	if err := pair.Wait(); err != nil {
		return err
	}
	at := r.v.active.clock.now()
	if differing := differences(ours, theirs, at); len(differing) > 0 {
		return &driver.Error{Class: driver.Internal, Store: r.to.name, Op: "verify", IDs: differing[:min(len(differing), maxTold)],
			Detail: "after everything was copied, these records are not those of the active link: the link does not join"}
	}
	return nil
}

// differences returns the ids of records that are not the same in both lists, but
// for those that a store may have forgotten by now.
func differences(ours, theirs []driver.Record, at time.Time) []string {
	held := make(map[string]*driver.Record, len(theirs))
	for i := range theirs {
		held[theirs[i].ID] = &theirs[i]
	}
	var differing []string
	for i := range ours {
		their := held[ours[i].ID]
		delete(held, ours[i].ID)
		if their == nil && expiring(&ours[i], at) || their != nil && driver.Equal(&ours[i], their) {
			continue
		}
		differing = append(differing, ours[i].ID)
	}
	for id, their := range held {
		if !expiring(their, at) {
			differing = append(differing, id)
		}
	}
	slices.Sort(differing)
	return differing
}

// expiring reports whether one of two stores may have forgotten r already. Their
// clocks may differ a little.
func expiring(r *driver.Record, at time.Time) bool {
	return !r.Expires.IsZero() && r.Expires.Before(at.Add(time.Minute))
}

// holds returns the records of the link with the given ids.
func (r *resync) holds(ctx context.Context, ids []string) ([]driver.Record, error) {
	return onTarget(ctx, r, "get", func(ctx context.Context) ([]driver.Record, error) { return r.to.get(ctx, ids...) })
}
