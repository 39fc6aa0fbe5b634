// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/understudy-dev/understudy/driver"
)

// onListed changes the pages of a listing.
func onListed(f func(resp *driver.ListResponse, req driver.ListRequest)) func(driver.Store) driver.Store {
	return onList(func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
		resp, err := s.List(ctx, req)
		if err == nil {
			f(&resp, req)
		}
		return resp, err
	})
}

type listFunc = func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error)

func onList(f listFunc) func(driver.Store) driver.Store { return with(broken{list: f}) }

type changesFunc = func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error

func onChanges(f changesFunc) func(driver.Store) driver.Store { return with(broken{changes: f}) }

// onBatch changes the batches of a feed.
func onBatch(f func(b *driver.ChangeBatch)) func(driver.Store) driver.Store {
	return onChanges(func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
		return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
			f(&b)
			return emit(b)
		})
	})
}

var readMutants = []mutant{
	{name: "gets in its own order", area: "Get", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			slices.SortFunc(resp.Records, func(a, b driver.Record) int { return len(a.ID) - len(b.ID) })
			slices.Reverse(resp.Records)
			return resp, err
		}})},
	{name: "gives zero records for unknown ids", area: "Get", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			if err == nil && len(resp.Records) < len(req.IDs) {
				resp.Records = append(resp.Records, driver.Record{})
			}
			return resp, err
		}})},
	{name: "reads from a cache of its connection", area: "Get", wrap: func(s driver.Store) driver.Store {
		var cache table[string, driver.Record]
		return onGot(func(r *driver.Record) {
			if cached, ok := cache.load(r.ID); ok {
				*r = cached.Clone()
			}
			cache.store(r.ID, r.Clone())
		})(s)
	}},

	{name: "gets no more than a batch", area: "Get", wrap: with(broken{
		get: func(ctx context.Context, s driver.Store, req driver.GetRequest) (driver.GetResponse, error) {
			resp, err := s.Get(ctx, req)
			size := 0
			resp.Records = slices.DeleteFunc(resp.Records, func(r driver.Record) bool {
				size += driver.EncodedSize(&r)
				return size > driver.MaxBatchBytes
			})
			return resp, err
		}})},

	{name: "lists a record on two pages", area: "List", wrap: func(s driver.Store) driver.Store {
		var last table[string, driver.Record]
		return onListed(func(resp *driver.ListResponse, req driver.ListRequest) {
			if r, ok := last.load(req.Cursor); ok && len(resp.Records) > 0 {
				resp.Records[0] = r
			}
			if resp.Next != "" && len(resp.Records) > 0 {
				last.store(resp.Next, resp.Records[len(resp.Records)-1])
			}
		})(s)
	}},
	{name: "skips a record between pages", area: "List", wrap: onListed(func(resp *driver.ListResponse, req driver.ListRequest) {
		if req.Cursor != "" && len(resp.Records) > 0 {
			resp.Records = resp.Records[1:]
		}
	})},
	{name: "stops at the first page", area: "List", wrap: onListed(func(resp *driver.ListResponse, _ driver.ListRequest) { resp.Next = "" })},
	{name: "ignores the limit of a page", area: "List", wrap: onList(
		func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			if req.Limit < driver.MaxBatch {
				req.Limit++
			}
			return s.List(ctx, req)
		})},
	{name: "forgets the filter behind the first page", area: "List", wrap: onList(
		func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			if req.Cursor != "" {
				req.Kinds, req.Statuses = nil, nil
			}
			return s.List(ctx, req)
		})},
	{name: "ignores the statuses", area: "List", wrap: onList(
		func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			req.Statuses = nil
			return s.List(ctx, req)
		})},
	{name: "takes the kinds or the statuses", area: "List", wrap: onList(
		func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			if len(req.Kinds) > 0 {
				req.Statuses = nil
			}
			return s.List(ctx, req)
		})},
	{name: "takes a foreign cursor for the first page", area: "List", wrap: onList(
		func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			resp, err := s.List(ctx, req)
			if errors.Is(err, driver.Invalid) && req.Cursor != "" {
				req.Cursor = ""
				return s.List(ctx, req)
			}
			return resp, err
		})},
	{name: "pages by position", area: "List", wrap: onList(
		func(ctx context.Context, s driver.Store, req driver.ListRequest) (driver.ListResponse, error) {
			all := driver.ListResponse{}
			whole := req
			whole.Cursor, whole.Limit = "", driver.MaxBatch
			for {
				resp, err := s.List(ctx, whole)
				if err != nil {
					return resp, err
				}
				all.Receipt, all.Records = resp.Receipt, append(all.Records, resp.Records...)
				if whole.Cursor = resp.Next; whole.Cursor == "" {
					break
				}
			}
			at := 0
			_, _ = fmt.Sscanf(req.Cursor, "after %d", &at)
			at = min(at, len(all.Records))
			end := min(at+req.Limit, len(all.Records))
			if end < len(all.Records) {
				all.Next = fmt.Sprintf("after %d", end)
			}
			all.Records = all.Records[at:end]
			return all, nil
		})},

	{name: "drops a change", area: "Changes", wrap: onBatch(func(b *driver.ChangeBatch) {
		b.Changes = slices.DeleteFunc(b.Changes, func(c driver.Change) bool { return c.Status == driver.Leased })
	})},
	{name: "delivers changes out of order", area: "Changes", wrap: onBatch(func(b *driver.ChangeBatch) { slices.Reverse(b.Changes) })},
	{name: "tells the wrong due time", area: "Changes", wrap: onBatch(func(b *driver.ChangeBatch) {
		for i := range b.Changes {
			b.Changes[i].Due = b.Changes[i].Due.Add(1)
		}
	})},
	{name: "tells repeats as changes", area: "Changes", wrap: func(s driver.Store) driver.Store {
		return with(broken{changes: func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				b.Changes = append(slices.Clone(b.Changes), b.Changes...)
				return emit(b)
			})
		}})(s)
	}},
	{name: "sends nothing before the first change", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				if len(b.Changes) == 0 {
					return nil
				}
				return emit(b)
			})
		})},
	{name: "begins with the past", area: "Changes", wrap: func(s driver.Store) driver.Store {
		var first table[string, string]
		_ = s.Changes(context.Background(), driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
			first.store("", b.Cursor)
			return errors.New("enough")
		})
		return onChanges(func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			if req.Cursor == "" {
				req.Cursor, _ = first.load("")
			}
			return s.Changes(ctx, req, emit)
		})(s)
	}},
	{name: "ends when it has caught up", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			once := errors.New("once")
			err := s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				if err := emit(b); err != nil {
					return err
				}
				return once
			})
			if errors.Is(err, once) {
				return nil
			}
			return err
		})},
	{name: "ignores that a feed is asked for up to the end", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			req.ToEnd = false
			return s.Changes(ctx, req, emit)
		})},
	{name: "ends at the end before the last change", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				if n := len(b.Changes); req.ToEnd && n > 1 {
					b.Changes = b.Changes[:n-1]
				}
				return emit(b)
			})
		})},
	{name: "ends with a cursor before the last change", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			last := req.Cursor
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				if req.ToEnd && last != "" {
					last, b.Cursor = b.Cursor, last
				}
				return emit(b)
			})
		})},
	{name: "wraps the error of emit", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			return driver.In(s.Changes(ctx, req, emit), "broken", "changes")
		})},
	{name: "goes on behind the error of emit", hangs: true, area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				_ = emit(b)
				return nil
			})
		})},
	{name: "calls emit twice at once", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				var both sync.WaitGroup
				var err error
				both.Go(func() { err = emit(b) })
				second := emit(driver.ChangeBatch{Cursor: b.Cursor})
				both.Wait()
				return errors.Join(err, second)
			})
		})},
	{name: "drops what a slow emit cannot take", area: "Changes", wrap: dropsWhenSlow()},
	{name: "blocks writers while emit runs", hangs: true, area: "Changes", wrap: func(s driver.Store) driver.Store {
		var gate sync.RWMutex
		return with(broken{
			changes: func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
				return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
					gate.Lock()
					defer gate.Unlock()
					return emit(b)
				})
			},
			commit: func(ctx context.Context, s driver.Store, req driver.CommitRequest) (driver.CommitResponse, error) {
				gate.RLock()
				defer gate.RUnlock()
				return s.Commit(ctx, req)
			},
		})(s)
	}},
	{name: "has no records in the feed", area: "Changes", wrap: onBatch(func(b *driver.ChangeBatch) {
		for i := range b.Changes {
			b.Changes[i].Record = nil
		}
	})},
	{name: "has records in every feed", area: "Changes", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			req.Records = true
			return s.Changes(ctx, req, emit)
		})},

	{name: "loses the cursor silently", area: "Cursor", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			req.Cursor = ""
			return s.Changes(ctx, req, emit)
		})},
	{name: "takes a foreign cursor for the present", area: "Cursor", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			err := s.Changes(ctx, req, emit)
			if errors.Is(err, driver.Invalid) {
				req.Cursor = ""
				return s.Changes(ctx, req, emit)
			}
			return err
		})},
	{name: "goes on behind a gap in its history", area: "Cursor", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			err := s.Changes(ctx, req, emit)
			if errors.Is(err, driver.CursorLost) {
				req.Cursor = ""
				return s.Changes(ctx, req, emit)
			}
			return err
		})},
	{name: "gives the cursor of the batch before", area: "Cursor", wrap: onChanges(
		func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			before := req.Cursor
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				now := b.Cursor
				if before != "" {
					b.Cursor = before
				}
				before = now
				return emit(b)
			})
		})},
	{name: "gives cursors for one connection", area: "Cursor", wrap: func(s driver.Store) driver.Store {
		var given table[string, bool]
		return onChanges(func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
			if known, _ := given.load(req.Cursor); req.Cursor != "" && !known {
				return driver.CursorLost
			}
			return s.Changes(ctx, req, func(b driver.ChangeBatch) error {
				given.store(b.Cursor, true)
				return emit(b)
			})
		})(s)
	}},
}

// dropsWhenSlow passes batches on through a buffer of one.
func dropsWhenSlow() func(driver.Store) driver.Store {
	return onChanges(func(ctx context.Context, s driver.Store, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		buffer := make(chan driver.ChangeBatch, 1)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for b := range buffer {
				if err := emit(b); err != nil {
					cancel(err)
					return
				}
			}
		}()
		err := s.Changes(ctx, req, func(b driver.ChangeBatch) error {
			select {
			case buffer <- b:
			default:
			}
			return nil
		})
		close(buffer)
		<-over
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return cause
		}
		return err
	})
}
