// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-dev/understudy/driver"
)

const (
	maxFindings = 50_000 // held at once: more are reported and dealt with in several goes
	maxTold     = 10     // in an event
)

// compare finds what the link holds that the chain has since decided otherwise,
// reports it, and only then deals with it.
func (r *resync) compare(ctx context.Context) error {
	var found []Diverged
	gather := func(more []Diverged) (full []Diverged) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if found = append(found, more...); len(found) >= maxFindings {
			full, found = found, nil
		}
		return full
	}
	list := func(ctx context.Context, cursor string) (driver.ListResponse, error) {
		return onTarget(ctx, r, "list", func(ctx context.Context) (driver.ListResponse, error) {
			return r.to.list(ctx, driver.ListRequest{Cursor: cursor, Limit: driver.MaxBatch})
		})
	}
	err := r.pages(ctx, list, func(ctx context.Context, records []driver.Record) error {
		more, err := r.findings(ctx, records)
		if err != nil || len(more) == 0 {
			return err
		}
		return r.settle(ctx, gather(more))
	})
	if err != nil {
		return err
	}
	return r.settle(ctx, found)
}

// idsOf returns the ids of records.
func idsOf(records []driver.Record) []string {
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	return ids
}

// oursOf returns what the active link holds of the given ids.
func (r *resync) oursOf(ctx context.Context, ids []string) (map[string]*driver.Record, error) {
	ours, err := onSource(ctx, r, "get", func(ctx context.Context, from *link) ([]driver.Record, error) { return from.get(ctx, ids...) })
	held := make(map[string]*driver.Record, len(ours))
	for i := range ours {
		held[ours[i].ID] = &ours[i]
	}
	return held, err
}

// findings returns how records of the link stand to the active link, where that is
// to be reported.
func (r *resync) findings(ctx context.Context, theirs []driver.Record) ([]Diverged, error) {
	ours, err := r.oursOf(ctx, idsOf(theirs))
	if err != nil {
		return nil, err
	}
	at := r.v.active.clock.now()
	var found []Diverged
	for i := range theirs {
		their := &theirs[i]
		our := ours[their.ID]
		if d := classify(their, our, at, r.c.config.Retention); d.finding() {
			found = append(found, Diverged{Divergence: d, ID: their.ID, Kind: their.Kind, Theirs: versionOf(their), Ours: versionOf(our)})
		}
	}
	return found, nil
}

// settle reports findings, and then deals with each.
func (r *resync) settle(ctx context.Context, found []Diverged) error {
	if len(found) == 0 {
		return nil
	}
	if err := r.report(found); err != nil {
		return err
	}
	for low := 0; low < len(found); low += driver.MaxBatch {
		ids := make([]string, 0, driver.MaxBatch)
		for _, d := range found[low:min(low+driver.MaxBatch, len(found))] {
			ids = append(ids, d.ID)
		}
		if err := r.reconcile(ctx, ids); err != nil {
			return err
		}
	}
	return nil
}

// report tells of findings: a file, an event, a line. The workflows of the chain
// itself are nobody's business.
func (r *resync) report(found []Diverged) error {
	told := make([]Diverged, 0, len(found))
	counts := map[Divergence]int{}
	for _, d := range found {
		if !reserved(d.Kind) {
			told = append(told, d)
			counts[d.Divergence]++
		}
	}
	if len(told) == 0 {
		return nil
	}
	path, err := r.c.writeReport(r.to, r.v.epoch, told)
	if err != nil {
		return err
	}
	first := told[:min(len(told), maxTold)]
	ids := make([]string, len(first))
	for i := range first {
		ids[i] = first[i].ID
	}
	r.c.log.Warn("returning link holds what the chain has decided otherwise", zap.String("link", r.to.name),
		zap.Stringer("epoch", r.v.epoch), zap.Int("behind", counts[DivergenceBehind]), zap.Int("ahead", counts[DivergenceAhead]),
		zap.Int("unknown", counts[DivergenceUnknown]), zap.Int("forgotten", counts[DivergenceForgotten]),
		zap.Strings("first", ids), zap.String("report", path))
	r.c.events.emit(DivergenceFound{At: now(), Link: r.to.name, Epoch: r.v.epoch.Clone(), Counts: counts, First: first, Report: path})
	return nil
}

// reconcile brings both links to agree on the records with the given ids, as they
// stand now.
func (r *resync) reconcile(ctx context.Context, ids []string) error {
	theirs, err := r.holds(ctx, ids)
	if err != nil {
		return err
	}
	ours, err := r.oursOf(ctx, ids)
	if err != nil {
		return err
	}
	at := r.v.active.clock.now()
	var replace, adopt []driver.Record
	var ahead errgroup.Group
	ahead.SetLimit(inFlight * driver.MaxBatch)
	for i := range theirs {
		their := &theirs[i]
		our := ours[their.ID]
		switch d := classify(their, our, at, r.c.config.Retention); {
		case d == DivergenceNone:
		case d == DivergenceAhead:
			ahead.Go(func() error { return r.overtake(ctx, their, *our) })
		case d == DivergenceUnknown && !reserved(their.Kind):
			adopt = append(adopt, *their)
		case d == DivergenceForgotten || d == DivergenceUnknown:
			ended, err := cancelled(r.c.stamp(driver.Token{}), *their, r.c.expires(at))
			if err == nil {
				replace = append(replace, ended)
			} // else it has ended already
		case d == DivergenceBehind || d == DivergenceOlder:
			replace = append(replace, *our)
		}
	}
	if err := ahead.Wait(); err != nil {
		return err
	}
	if err := r.adopt(ctx, adopt); err != nil {
		return err
	}
	_, err = r.merge(ctx, replace)
	return err
}

// overtake commits ours anew in the present epoch until it is newer than theirs,
// and merges that. A lease goes on under its token: when its holder makes his next
// transition he meets a conflict, sees his lease, and makes it anew. If somebody
// was faster, his record is the newer one.
func (r *resync) overtake(ctx context.Context, theirs *driver.Record, ours driver.Record) error {
	for driver.Compare(theirs, &ours) >= 0 {
		t := restamped(r.c.stamp(driver.Token{}), ours)
		renewed, err := r.c.commit(ctx, verbRestamp, t)
		if stored := storedIn(err); stored != nil { // also if it is not known who made that: it is newer
			renewed, err = *stored, nil
		}
		if err != nil {
			return err
		}
		ours = renewed
		if ours.Epoch == theirs.Epoch && ours.Created.Before(theirs.Created) {
			return &driver.Error{Class: driver.Conflict, Store: r.to.name, Op: "resync", IDs: []string{ours.ID},
				Detail: "it holds another workflow with this id, which was started later in the same epoch: no transition of the present one can follow that"}
		}
	}
	_, err := r.merge(ctx, []driver.Record{ours})
	return err
}

// adopt takes records that the chain does not know into it. What has come into the
// active link has to come into its standbys, so a part that is begun is brought to
// its end, also when the epoch and with it the duty is over.
func (r *resync) adopt(ctx context.Context, records []driver.Record) error {
	for len(records) > 0 && ctx.Err() == nil {
		n := fitting(records)
		if err := r.c.carryAll(r.v, records[:n], errMoved); err != nil {
			return err
		}
		records = records[n:]
	}
	return context.Cause(ctx)
}
