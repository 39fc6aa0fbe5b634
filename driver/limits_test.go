// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestValidRecords(t *testing.T) {
	t.Parallel()
	for status := driver.Ready; status <= driver.Held; status++ {
		r := in(status)
		require.NoError(t, r.Validate(), status)
	}
	r := ready()
	r.Input = nil
	r.Input = make([]byte, driver.MaxRecordBytes-driver.EncodedSize(&r)-2)
	require.Equal(t, driver.MaxRecordBytes, driver.EncodedSize(&r))
	require.NoError(t, r.Validate())
}

func TestInvalidRecords(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n+1) }
	labels := map[string]string{}
	for i := range driver.MaxLabels + 1 {
		labels[fmt.Sprint(i)] = ""
	}
	for _, c := range []struct {
		name   string
		class  driver.Class
		text   []string
		change func(*driver.Record)
	}{
		{"IDEmpty", driver.Invalid, []string{"id is empty", "1–256"}, func(r *driver.Record) { r.ID = "" }},
		{"IDLong", driver.TooLarge, []string{"id has 257 bytes", "limit is 256"}, func(r *driver.Record) { r.ID = long(256) }},
		{"IDControl", driver.Invalid, []string{`id "a\n"`}, func(r *driver.Record) { r.ID = "a\n" }},
		{"IDNotUTF8", driver.Invalid, []string{"not valid UTF-8"}, func(r *driver.Record) { r.ID = "\xff" }},
		{"KindEmpty", driver.Invalid, []string{"kind is empty"}, func(r *driver.Record) { r.Kind = "" }},
		{"KindLong", driver.TooLarge, []string{"kind has 65 bytes"}, func(r *driver.Record) { r.Kind = long(64) }},
		{"StepLong", driver.TooLarge, []string{"step has 257 bytes"}, func(r *driver.Record) { r.Step = long(256) }},
		{"FailureLong", driver.TooLarge, []string{"failure has 4097 bytes"}, func(r *driver.Record) { r.Failure = long(4096) }},
		{"LabelsMany", driver.TooLarge, []string{"labels has 33 entries"}, func(r *driver.Record) { r.Labels = labels }},
		{"LabelKeyEmpty", driver.Invalid, []string{"label key is empty"}, func(r *driver.Record) { r.Labels = map[string]string{"": "x"} }},
		{"LabelValueLong", driver.TooLarge, []string{`label "k" has 257 bytes`}, func(r *driver.Record) { r.Labels = map[string]string{"k": long(256)} }},
		{"RecordLarge", driver.TooLarge, []string{"record has", "limit is 262144"}, func(r *driver.Record) { r.Input = make([]byte, driver.MaxRecordBytes) }},
		{"RevisionZero", driver.Invalid, []string{"revision is 0"}, func(r *driver.Record) { r.Revision = 0 }},
		{"TokenZero", driver.Invalid, []string{"token is zero"}, func(r *driver.Record) { r.Token = driver.Token{} }},
		{"StatusAbsent", driver.Invalid, []string{"status is absent"}, func(r *driver.Record) { r.Status = driver.Absent }},
		{"StatusUnknown", driver.Invalid, []string{"status is status(8)"}, func(r *driver.Record) { r.Status = 8 }},
		{"CreatedUnset", driver.Invalid, []string{"created is not set"}, func(r *driver.Record) { r.Created = time.Time{} }},
		{"UpdatedUnset", driver.Invalid, []string{"updated is not set"}, func(r *driver.Record) { r.Updated = time.Time{} }},
		{"LeasedWithoutToken", driver.Invalid, []string{"without a lease token"}, func(r *driver.Record) { r.Status = driver.Leased }},
		{"LeasedWithoutOwner", driver.Invalid, []string{"lease owner is empty"}, func(r *driver.Record) { *r = leased(); r.Lease.Owner = "" }},
		{"ReadyWithLease", driver.Invalid, []string{"with a lease"}, func(r *driver.Record) { r.Lease.Owner = "h" }},
		{"ReadyNeverDue", driver.Invalid, []string{"without a due time"}, func(r *driver.Record) { r.Due = time.Time{} }},
		{"FinishedDue", driver.Invalid, []string{"with a due time"}, func(r *driver.Record) { *r = in(driver.Failed); r.Due = noon }},
		{"HeldDue", driver.Invalid, []string{"with a due time"}, func(r *driver.Record) { *r = in(driver.Held); r.Due = noon }},
		{"OpenExpires", driver.Invalid, []string{"only finished"}, func(r *driver.Record) { r.Expires = noon }},
		{"TimeFine", driver.Invalid, []string{"updated is", "whole milliseconds"}, func(r *driver.Record) { r.Updated = noon.Add(1) }},
		{"TimeEarly", driver.Invalid, []string{"created is 1970", "after 1970"}, func(r *driver.Record) { r.Created = time.UnixMilli(0) }},
		{"TimeLate", driver.Invalid, []string{"due is"}, func(r *driver.Record) { r.Due = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := ready()
			c.change(&r)
			err := r.Validate()
			require.ErrorIs(t, err, c.class)
			for _, text := range c.text {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

func TestTransitionBaseBelongsToRevision(t *testing.T) {
	t.Parallel()
	r := ready()
	tr := driver.Transition{Record: r}
	require.ErrorIs(t, tr.Validate(), driver.Invalid)
	tr.Base = token(1)
	require.NoError(t, tr.Validate())
	tr.Record.Revision = 1
	require.ErrorIs(t, tr.Validate(), driver.Invalid)
}

func TestRequestsAreValidated(t *testing.T) {
	t.Parallel()
	claim := driver.ClaimRequest{Owner: "h", Token: token(1), Kinds: []string{"k"}, Limit: 1, Lease: time.Second}
	require.NoError(t, claim.Validate())
	for name, change := range map[string]func(*driver.ClaimRequest){
		"token": func(r *driver.ClaimRequest) { r.Token = driver.Token{} },
		"owner": func(r *driver.ClaimRequest) { r.Owner = "" },
		"kinds": func(r *driver.ClaimRequest) { r.Kinds = nil },
		"limit": func(r *driver.ClaimRequest) { r.Limit = driver.MaxBatch + 1 },
		"lease": func(r *driver.ClaimRequest) { r.Lease = time.Millisecond + 1 },
		"kind":  func(r *driver.ClaimRequest) { r.Kinds = []string{"k", ""} },
	} {
		r := claim
		change(&r)
		err := r.Validate()
		require.ErrorIs(t, err, driver.Invalid)
		require.ErrorContains(t, err, name)
	}

	commit := driver.CommitRequest{Transitions: make([]driver.Transition, driver.MaxBatch)}
	require.NoError(t, commit.Validate())
	for i := range commit.Transitions {
		commit.Transitions[i].Record.Input = make([]byte, 64<<10)
	}
	require.ErrorIs(t, commit.Validate(), driver.TooLarge)
	commit.Transitions = make([]driver.Transition, driver.MaxBatch+1)
	require.ErrorIs(t, commit.Validate(), driver.TooLarge)

	merge := driver.MergeRequest{Guard: driver.Guard{Epoch: 2}, Records: []driver.Record{ready(), ready()}}
	merge.Records[1].Epoch = 3
	require.NoError(t, merge.Validate())
	require.NoError(t, merge.ValidateAt(0))
	require.ErrorIs(t, merge.ValidateAt(1), driver.Invalid)

	get := driver.GetRequest{IDs: []string{"a", ""}}
	require.ErrorIs(t, get.Validate(), driver.Invalid)
	list := driver.ListRequest{Limit: 1, Statuses: []driver.Status{driver.Absent}}
	require.ErrorIs(t, list.Validate(), driver.Invalid)
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"redis", "a", "0-a_b.c", strings.Repeat("a", 64)} {
		require.NoError(t, driver.ValidateName("chain", good))
	}
	for _, bad := range []string{"", "-a", "A", "a b", strings.Repeat("a", 65), "é"} {
		require.ErrorIs(t, driver.ValidateName("chain", bad), driver.Invalid, bad)
	}
}
