// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func epoch(number, version uint64) driver.Epoch {
	return driver.Epoch{Number: number, Version: version, Token: token(byte(10*number + version)), Active: "redis", InSync: []string{"eventstore"}}
}

func TestEpochAdmitsItsOwnNumberOnly(t *testing.T) {
	t.Parallel()
	e := epoch(5, 1)
	require.NoError(t, e.Admit(5))
	require.NoError(t, e.AdmitMerge(5))
	require.NoError(t, e.AdmitMerge(6), "replication may run ahead")
	require.ErrorIs(t, e.Admit(6), driver.Lost)
	for _, err := range []error{e.Admit(4), e.AdmitMerge(4)} {
		var fenced *driver.Error
		require.ErrorAs(t, err, &fenced)
		require.Equal(t, driver.Fenced, fenced.Class)
		require.Equal(t, e, *fenced.Epoch)
	}
	e.State = driver.Handover
	require.ErrorIs(t, e.Admit(5), driver.Fenced)
	require.NoError(t, e.AdmitMerge(5))
	require.NoError(t, driver.Epoch{}.Admit(0), "a store that was never advanced")
}

func TestEpochAdmitsAdvance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		stored driver.Epoch
		expect driver.EpochVersion
		next   driver.Epoch
		apply  bool
		class  error
	}{
		{"First", driver.Epoch{}, driver.EpochVersion{}, epoch(1, 0), true, nil},
		{"FirstJoinsLater", driver.Epoch{}, driver.EpochVersion{}, epoch(7, 3), true, nil},
		{"NextNumber", epoch(5, 1), driver.EpochVersion{Number: 5, Version: 1}, epoch(6, 0), true, nil},
		{"NextVersion", epoch(5, 1), driver.EpochVersion{Number: 5, Version: 1}, epoch(5, 2), true, nil},
		{"Repeat", epoch(6, 0), driver.EpochVersion{Number: 5, Version: 1}, epoch(6, 0), false, nil},
		{"OtherHostWon", epoch(6, 1), driver.EpochVersion{Number: 5, Version: 1}, epoch(6, 0), false, driver.Conflict},
		{"VersionMoved", epoch(5, 2), driver.EpochVersion{Number: 5, Version: 1}, epoch(6, 0), false, driver.Conflict},
		{"StoreBehind", epoch(4, 0), driver.EpochVersion{Number: 5, Version: 1}, epoch(6, 0), false, driver.Conflict},
		{"Fenced", epoch(7, 0), driver.EpochVersion{Number: 5, Version: 1}, epoch(6, 0), false, driver.Fenced},
		{"VersionJoinsLater", epoch(5, 1), driver.EpochVersion{Number: 5, Version: 1}, epoch(5, 3), true, nil},
		{"VersionBack", epoch(5, 1), driver.EpochVersion{Number: 5, Version: 1}, epoch(5, 0), false, driver.Invalid},
		{"Backwards", epoch(5, 1), driver.EpochVersion{Number: 5, Version: 1}, epoch(4, 2), false, driver.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			apply, err := c.stored.AdmitAdvance(c.expect, c.next)
			require.Equal(t, c.apply, apply)
			if c.class == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.class)
			var e *driver.Error
			require.ErrorAs(t, err, &e)
			if e.Class != driver.Invalid {
				require.Equal(t, c.stored, *e.Epoch)
			}
		})
	}
}

func TestInvalidEpochs(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*driver.Epoch){
		"token":      func(e *driver.Epoch) { e.Token = driver.Token{} },
		"link":       func(e *driver.Epoch) { e.Active = "" },
		"state":      func(e *driver.Epoch) { e.State = 2 },
		"sorted":     func(e *driver.Epoch) { e.InSync = []string{"b", "a"} },
		"by link":    func(e *driver.Epoch) { e.Incarnations = []driver.LinkIncarnation{{Link: "b"}, {Link: "a"}} },
		"each once":  func(e *driver.Epoch) { e.Incarnations = []driver.LinkIncarnation{{Link: "a"}, {Link: "a"}} },
		"link \"B\"": func(e *driver.Epoch) { e.Incarnations = []driver.LinkIncarnation{{Link: "B"}} },
		"number":     func(e *driver.Epoch) { *e = epoch(0, 1) },
	} {
		next := epoch(1, 0)
		change(&next)
		_, err := driver.Epoch{}.AdmitAdvance(driver.EpochVersion{}, next)
		require.ErrorIs(t, err, driver.Invalid, name)
		require.ErrorContains(t, err, name)
	}
}

func TestEpochsWithOtherIncarnationsDiffer(t *testing.T) {
	t.Parallel()
	e := epoch(1, 1)
	require.True(t, e.Equal(e.Clone()))
	known := e.Clone()
	known.Incarnations = []driver.LinkIncarnation{{Link: "redis", Incarnation: 4}}
	require.False(t, known.Equal(e))
	other := known.Clone()
	require.True(t, known.Equal(other))
	other.Incarnations[0].Incarnation = 5
	require.False(t, known.Equal(other))
	require.Equal(t, uint64(4), known.Incarnations[0].Incarnation, "a clone shares nothing")
}

func TestEpochOfTooManyIncarnations(t *testing.T) {
	t.Parallel()
	next := epoch(1, 0)
	for i := range driver.MaxLinks + 1 {
		next.Incarnations = append(next.Incarnations, driver.LinkIncarnation{Link: fmt.Sprintf("link-%02d", i)})
	}
	_, err := driver.Epoch{}.AdmitAdvance(driver.EpochVersion{}, next)
	require.ErrorIs(t, err, driver.TooLarge)
	next.Incarnations = next.Incarnations[:driver.MaxLinks]
	_, err = driver.Epoch{}.AdmitAdvance(driver.EpochVersion{}, next)
	require.NoError(t, err)
}

func TestIncarnationOfMarks(t *testing.T) {
	t.Parallel()
	marks := driver.Marks{{Partition: 0, Incarnation: 1, Sequence: 10}, {Partition: 2, Incarnation: 1, Sequence: 5}}
	is := marks.Incarnation()
	require.Equal(t, is, marks.With(driver.Marks{{Partition: 2, Incarnation: 1, Sequence: 6}}).Incarnation(), "of the same incarnation")
	require.NotEqual(t, is, marks.With(driver.Marks{{Partition: 2, Incarnation: 7, Sequence: 5}}).Incarnation())
	require.NotEqual(t, is, marks[:1].Incarnation())
	require.NotEqual(t, is, driver.Marks{{Partition: 0, Incarnation: 1}, {Partition: 1, Incarnation: 1}}.Incarnation())
}

func TestMarks(t *testing.T) {
	t.Parallel()
	seen := driver.Marks{{Partition: 0, Incarnation: 1, Sequence: 10}, {Partition: 2, Incarnation: 1, Sequence: 5}}
	require.NoError(t, driver.Marks{{Partition: 0, Incarnation: 1, Sequence: 10}}.Check(seen))
	require.NoError(t, driver.Marks{{Partition: 1, Incarnation: 9, Sequence: 0}}.Check(seen), "partitions of one side do not count")
	require.NoError(t, driver.Marks{{Partition: 0, Incarnation: 4, Sequence: 1}}.Check(nil), "who knows nothing accepts everything")
	require.ErrorIs(t, driver.Marks{{Partition: 2, Incarnation: 1, Sequence: 4}}.Check(seen), driver.Lost)
	require.ErrorIs(t, driver.Marks{{Partition: 0, Incarnation: 2, Sequence: 99}}.Check(seen), driver.Lost)

	before := append(driver.Marks{}, seen...)
	got := seen.With(driver.Marks{{Partition: 0, Incarnation: 1, Sequence: 9}, {Partition: 1, Incarnation: 1, Sequence: 1}, {Partition: 2, Incarnation: 7, Sequence: 2}})
	require.Equal(t, driver.Marks{{Partition: 0, Incarnation: 1, Sequence: 10}, {Partition: 1, Incarnation: 1, Sequence: 1}, {Partition: 2, Incarnation: 7, Sequence: 2}}, got)
	require.Equal(t, before, seen, "never changed in place")
}
