// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

var stamp = driver.Stamp{Epoch: 5, Token: token(77), Now: noon.Add(2 * time.Minute), Lease: token(9)}

// verbs applies each verb to a record, once for each outcome it can have.
var verbs = map[driver.Verb][]func(driver.Record) (driver.Transition, error){
	driver.VerbStart: {func(r driver.Record) (driver.Transition, error) {
		if r.Status != driver.Absent {
			t, err := driver.Start(stamp, driver.Workflow{ID: r.ID, Kind: r.Kind})
			if err != nil {
				return t, err
			}
			_, err = t.Admit(&r)
			return t, err
		}
		return driver.Start(stamp, driver.Workflow{ID: "call-1", Kind: "recording"})
	}},
	driver.VerbClaim: {func(r driver.Record) (driver.Transition, error) {
		if r.Status == driver.Leased || r.Status == driver.Waiting {
			r.Due = noon
		}
		return driver.Claim(stamp, r, "host-2", noon.Add(time.Hour))
	}},
	driver.VerbExtend: {func(r driver.Record) (driver.Transition, error) { return driver.Extend(stamp, r, noon.Add(time.Hour)) }},
	driver.VerbSave: {func(r driver.Record) (driver.Transition, error) {
		return driver.Save(stamp, r, "archive", []byte("s"), noon.Add(time.Hour))
	}},
	driver.VerbYield: {func(r driver.Record) (driver.Transition, error) { return driver.Yield(stamp, r, "archive", nil, noon) }},
	driver.VerbWait: {func(r driver.Record) (driver.Transition, error) {
		return driver.Wait(stamp, r, "archive", nil, time.Time{})
	}},
	driver.VerbSucceed: {func(r driver.Record) (driver.Transition, error) {
		return driver.Succeed(stamp, r, []byte("o"), noon.Add(time.Hour))
	}},
	driver.VerbFail: {
		func(r driver.Record) (driver.Transition, error) {
			return driver.Fail(stamp, r, driver.Failure{Reason: "no", Retry: noon.Add(time.Hour)})
		},
		func(r driver.Record) (driver.Transition, error) {
			return driver.Fail(stamp, r, driver.Failure{Reason: "no"})
		},
	},
	driver.VerbRelease: {func(r driver.Record) (driver.Transition, error) { return driver.Release(stamp, r, noon) }},
	driver.VerbCancel:  {func(r driver.Record) (driver.Transition, error) { return driver.Cancel(stamp, r, "by hand", noon) }},
	driver.VerbRequeue: {func(r driver.Record) (driver.Transition, error) { return driver.Requeue(stamp, r, noon) }},
}

func TestTableOfMovesAndCodeAgree(t *testing.T) {
	t.Parallel()
	var seen []driver.Move
	for status := driver.Absent; status <= driver.Held; status++ {
		for verb, outcomes := range verbs {
			for _, apply := range outcomes {
				before := in(status)
				tr, err := apply(before)
				if err != nil {
					require.Contains(t, []driver.Class{driver.Conflict, driver.LeaseLost, driver.Exists, driver.Invalid}, driver.ClassOf(err), "%s from %s", verb, status)
					continue
				}
				require.NoError(t, tr.Validate())
				require.Equal(t, before.Revision+1, tr.Record.Revision)
				require.Equal(t, before.Token, tr.Base)
				require.Equal(t, stamp.Token, tr.Record.Token)
				require.Equal(t, stamp.Epoch, tr.Record.Epoch)
				require.Equal(t, stamp.Now, tr.Record.Updated)
				require.Equal(t, in(status), before, "transitions are pure")
				seen = append(seen, driver.Move{Verb: verb, From: status, To: tr.Record.Status})
			}
		}
	}
	require.ElementsMatch(t, driver.Moves(), seen)
}

func TestDocsShowTheTableOfMoves(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/architecture.md")
	require.NoError(t, err)
	var table strings.Builder
	table.WriteString("| verb | from | to |\n|---|---|---|\n")
	for _, m := range driver.Moves() {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", m.Verb, m.From, m.To)
	}
	require.Contains(t, string(doc), table.String(), "docs/architecture.md must hold this table:\n%s", table.String())
}

func TestHolderMustHoldTheLease(t *testing.T) {
	t.Parallel()
	holders := []driver.Verb{driver.VerbExtend, driver.VerbSave, driver.VerbYield, driver.VerbWait, driver.VerbSucceed, driver.VerbFail, driver.VerbRelease}
	for name, change := range map[string]func(*driver.Record){
		"another lease":   func(r *driver.Record) { r.Lease.Token = token(10) },
		"expired":         func(r *driver.Record) { r.Due = stamp.Now },
		"not leased":      func(r *driver.Record) { r.Status, r.Lease = driver.Ready, driver.Lease{} },
		"already at rest": func(r *driver.Record) { *r = in(driver.Cancelled) },
	} {
		for _, verb := range holders {
			r := leased()
			change(&r)
			_, err := verbs[verb][0](r)
			require.ErrorIs(t, err, driver.LeaseLost, "%s, %s", verb, name)
		}
	}
}

func TestTransitionsInDetail(t *testing.T) {
	t.Parallel()
	t.Run("StartIsDueAtOnce", func(t *testing.T) {
		t.Parallel()
		tr, err := driver.Start(stamp, driver.Workflow{ID: "a", Kind: "k"})
		require.NoError(t, err)
		require.Equal(t, stamp.Now, tr.Record.Due)
		require.Equal(t, uint64(1), tr.Record.Revision)
		require.True(t, tr.Base.IsZero())
	})
	t.Run("ClaimCountsAttemptsAndNamesTheLease", func(t *testing.T) {
		t.Parallel()
		tr, err := driver.Claim(stamp, ready(), "host-2", noon.Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, driver.Lease{Owner: "host-2", Token: stamp.Token}, tr.Record.Lease)
		require.Equal(t, uint32(4), tr.Record.Attempt)
	})
	t.Run("ClaimBeforeDue", func(t *testing.T) {
		t.Parallel()
		_, err := driver.Claim(driver.Stamp{Token: token(1), Now: noon}, ready(), "host-2", noon.Add(time.Hour))
		require.ErrorIs(t, err, driver.Conflict)
	})
	t.Run("FailExhaustsAttempts", func(t *testing.T) {
		t.Parallel()
		f := driver.Failure{Reason: strings.Repeat("é", driver.MaxFailureBytes), Retry: noon.Add(time.Hour), MaxAttempts: 3, Expires: noon.Add(48 * time.Hour)}
		tr, err := driver.Fail(stamp, leased(), f)
		require.NoError(t, err)
		require.Equal(t, driver.Failed, tr.Record.Status)
		require.Equal(t, f.Expires, tr.Record.Expires)
		require.Len(t, tr.Record.Failure, driver.MaxFailureBytes)
		f.MaxAttempts = 4
		tr, err = driver.Fail(stamp, leased(), f)
		require.NoError(t, err)
		require.Equal(t, driver.Ready, tr.Record.Status)
		require.Equal(t, f.Retry, tr.Record.Due)
		require.Equal(t, "encode", tr.Record.Step, "the save point stays")
	})
	t.Run("ReleaseDoesNotCount", func(t *testing.T) {
		t.Parallel()
		tr, err := driver.Release(stamp, leased(), noon)
		require.NoError(t, err)
		require.Equal(t, uint32(2), tr.Record.Attempt)
	})
	t.Run("TimesAreCutToMilliseconds", func(t *testing.T) {
		t.Parallel()
		tr, err := driver.Extend(stamp, leased(), noon.Add(time.Hour+999*time.Microsecond))
		require.NoError(t, err)
		require.Equal(t, noon.Add(time.Hour), tr.Record.Due)
	})
}

func TestAdmitTransition(t *testing.T) {
	t.Parallel()
	stored := leased()
	following, err := driver.Save(stamp, stored, "next", nil, noon.Add(time.Hour))
	require.NoError(t, err)
	first, err := driver.Start(stamp, driver.Workflow{ID: "call-1", Kind: "recording"})
	require.NoError(t, err)
	with := func(tr driver.Transition, change func(*driver.Transition)) driver.Transition { change(&tr); return tr }
	for name, c := range map[string]struct {
		stored *driver.Record
		tr     driver.Transition
		apply  bool
		class  error
	}{
		"first of none":         {nil, first, true, nil},
		"later of none":         {nil, following, false, driver.NotFound},
		"first of some":         {&stored, first, false, driver.Exists},
		"the next":              {&stored, following, true, nil},
		"repeat of the first":   {&first.Record, first, false, nil},
		"repeat":                {&following.Record, following, false, nil},
		"another base":          {&stored, with(following, func(t *driver.Transition) { t.Base = token(1) }), false, driver.Conflict},
		"revision skipped":      {&stored, with(following, func(t *driver.Transition) { t.Record.Revision++ }), false, driver.Conflict},
		"revision passed":       {&following.Record, with(following, func(t *driver.Transition) { t.Record.Token = token(1) }), false, driver.Conflict},
		"stored of newer epoch": {&stored, with(following, func(t *driver.Transition) { t.Record.Epoch = 1 }), false, driver.Conflict},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			apply, err := c.tr.Admit(c.stored)
			require.Equal(t, c.apply, apply)
			if c.class == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.class)
			var e *driver.Error
			require.ErrorAs(t, err, &e)
			if c.stored != nil {
				require.Equal(t, *c.stored, *e.Stored)
			}
		})
	}
}
