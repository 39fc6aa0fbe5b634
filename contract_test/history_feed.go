// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

var (
	errFeedRead  = errors.New("enough of the feed")
	errFeedLacks = errors.New("the feed has not told these changes")
)

// feedBegins returns the cursor of the present, or "" if the driver is declared
// to have no feed.
func (p *player) feedBegins() (string, error) {
	if !p.e.h.Has(driver.CapChanges) {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(p.e.Context(), p.e.callTime())
	defer cancel()
	cursor := ""
	err := p.stores[0].Changes(ctx, driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
		cursor = b.Cursor
		return errFeedRead
	})
	if !errors.Is(err, errFeedRead) || cursor == "" {
		return "", fmt.Errorf("changes: want a first batch with the cursor of the present, got %q: %w", cursor, orNil(err))
	}
	return cursor, nil
}

// feedEnds reads the feed from cursor, on another connection, and checks that it
// tells each record's changes in their order, up to the last.
func (p *player) feedEnds(cursor string, ref *reference) error {
	var told []driver.Change
	fault := errors.New("nothing has come")
	ctx, cancel := context.WithTimeout(p.e.Context(), p.e.callTime())
	defer cancel()
	err := p.stores[historyHosts-1].Changes(ctx, driver.ChangesRequest{Cursor: cursor}, func(b driver.ChangeBatch) error {
		for _, c := range b.Changes {
			if strings.HasPrefix(c.ID, p.scope) {
				told = append(told, c)
			}
		}
		wrong := 0
		for _, s := range ref.states {
			switch fault = s.explains(told, p.e.h.Failovers); {
			case fault == nil:
				return errFeedRead
			case !errors.Is(fault, errFeedLacks):
				wrong++
			}
		}
		if wrong == len(ref.states) {
			return fault
		}
		return nil
	})
	switch {
	case errors.Is(err, errFeedRead):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("changes: waited %s: %w", p.e.callTime(), fault)
	}
	return err
}

// explains returns nil if what a feed has told is each record's changes in their
// order, up to the last; what came between may be left out. With failovers, a
// change that nobody was told of may come before one that has overtaken it. The
// error is errFeedLacks if something is still to come.
func (s *state) explains(told []driver.Change, failovers bool) error {
	left := map[string][]driver.Change{}
	for _, c := range s.changes {
		left[c.ID] = append(left[c.ID], c)
	}
	for _, c := range told {
		at := slices.IndexFunc(left[c.ID], func(m driver.Change) bool { return sameChange(m, c) })
		if at < 0 && failovers && slices.ContainsFunc(left[c.ID], func(m driver.Change) bool { return m.Revision >= c.Revision }) {
			continue // what has overtaken it has to come, as all that is left
		}
		if at < 0 {
			return fmt.Errorf("changes: %+v is no change that was still to come of %+v", c, left[c.ID])
		}
		if left[c.ID] = left[c.ID][at+1:]; len(left[c.ID]) == 0 {
			delete(left, c.ID)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %+v", errFeedLacks, left)
	}
	return nil
}

func sameChange(a, b driver.Change) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Revision == b.Revision && a.Epoch == b.Epoch && a.Status == b.Status && a.Due.Equal(b.Due)
}
