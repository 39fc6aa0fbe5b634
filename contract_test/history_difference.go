// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// difference returns what is not alike in two answers to the request.
func difference(request any, want, got answer) error {
	if err := differentErrors(want.err, got.err); err != nil || want.err != nil {
		return err
	}
	if err := differentVerdicts(request, want.verdicts, got.verdicts); err != nil {
		return err
	}
	if _, inOrder := request.(driver.GetRequest); !inOrder {
		want.records, got.records = byID(want.records), byID(got.records)
	}
	if w, g := ids(want.records), ids(got.records); !slices.Equal(w, g) {
		return differ("records", g, w)
	}
	for i := range want.records {
		if w, g := &want.records[i], &got.records[i]; !driver.Equal(w, g) {
			return differ("record", show(g), show(w))
		}
	}
	if !want.next.Equal(got.next) {
		return differ("next due time", got.next, want.next)
	}
	if !want.epoch.Equal(got.epoch) {
		return differ("epoch", got.epoch, want.epoch)
	}
	return nil
}

func differ(what string, got, want any) error {
	return fmt.Errorf("%s\n  of the store: %v\n  of the model: %v", what, got, want)
}

// differentErrors compares classes, and what the classes promise to carry.
func differentErrors(want, got error) error {
	if driver.ClassOf(want) != driver.ClassOf(got) {
		return differ("error", orNil(got), orNil(want))
	}
	class := driver.ClassOf(want)
	w, g := details(want), details(got)
	if class == driver.Fenced || class == driver.Conflict && w.Epoch != nil {
		if g.Epoch == nil || !g.Epoch.Equal(*w.Epoch) {
			return differ("epoch carried by the error", g.Epoch, w.Epoch)
		}
	}
	if class == driver.Exists || class == driver.Conflict && w.Stored != nil {
		if g.Stored == nil {
			return differ("record carried by the error", "none", show(w.Stored))
		}
		if !driver.Equal(w.Stored, g.Stored) {
			return differ("record carried by the error", show(g.Stored), show(w.Stored))
		}
	}
	return nil
}

func differentVerdicts(request any, want, got []driver.Verdict) error {
	if len(want) != len(got) {
		return differ("number of verdicts", len(got), len(want))
	}
	for i := range want {
		r := writtenAt(request, i)
		if err := differentErrors(want[i].Err, got[i].Err); err != nil {
			return fmt.Errorf("verdict %d, %q: %w", i, r.ID, err)
		}
		if want[i].Applied != got[i].Applied && !mergedTwice(request, r.ID) {
			return fmt.Errorf("verdict %d, %q: %w", i, r.ID, differ("applied", got[i].Applied, want[i].Applied))
		}
	}
	return nil
}

// mergedTwice reports whether the merge has several records of the id: which of
// them it counts as applied depends on their order, which does not matter.
func mergedTwice(request any, id string) bool {
	req, isMerge := request.(driver.MergeRequest)
	n := 0
	for i := range req.Records {
		if req.Records[i].ID == id {
			n++
		}
	}
	return isMerge && n > 1
}

func byID(records []driver.Record) []driver.Record {
	return slices.SortedFunc(slices.Values(records), func(a, b driver.Record) int { return strings.Compare(a.ID, b.ID) })
}

// details returns the *driver.Error in err, an empty one if there is none.
func details(err error) *driver.Error {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e
	}
	return &driver.Error{}
}

var errSuccess = errors.New("success")

// orNil makes nil printable.
func orNil(err error) error {
	if err == nil {
		return errSuccess
	}
	return err
}
