// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func result(name string, saw ...string) Result {
	return Result{Area: "append", Name: name, Steps: []Step{{Do: "append s", Saw: saw}}}
}

func TestCompareSeesEveryDifference(t *testing.T) {
	t.Parallel()
	same := result("event/no-id", `error code=Unknown message="a" trailers={}`)
	tests := []struct {
		name           string
		old, now       []Result
		ignoreMessages bool
		want           comparison
	}{
		{name: "Equal", old: []Result{same}, now: []Result{same}, want: comparison{equal: []string{"append/event/no-id"}}},
		{
			name: "OtherText", old: []Result{same}, now: []Result{result("event/no-id", `error code=Unknown message="b" trailers={}`)},
			want: comparison{different: map[string][]string{"append/event/no-id": {
				"  > append s", `-     error code=Unknown message="a" trailers={}`, `+     error code=Unknown message="b" trailers={}`}}},
		},
		{
			name: "OtherTextIgnored", old: []Result{same}, now: []Result{result("event/no-id", `error code=Unknown message="b \"c\"" trailers={}`)},
			ignoreMessages: true, want: comparison{equal: []string{"append/event/no-id"}},
		},
		{
			name: "OtherCodeIsNotIgnored", old: []Result{same}, now: []Result{result("event/no-id", `error code=Aborted message="a" trailers={}`)},
			ignoreMessages: true,
			want: comparison{different: map[string][]string{"append/event/no-id": {
				"  > append s", `-     error code=Unknown message=* trailers={}`, `+     error code=Aborted message=* trailers={}`}}},
		},
		{name: "New", now: []Result{same}, want: comparison{added: []string{"append/event/no-id"}}},
		{name: "Gone", old: []Result{result("no-such-case")}, want: comparison{gone: []string{"append/no-such-case"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.want.different == nil {
				test.want.different = map[string][]string{}
			}
			require.Equal(t, test.want, compare(Golden{Cases: test.old}, Golden{Cases: test.now}, test.ignoreMessages))
		})
	}
}

func TestPositionsAreRanked(t *testing.T) {
	t.Parallel()
	c := &T{cfg: &Config{}, steps: []Step{{Do: "read", Saw: []string{mark(500, true), mark(64, true), mark(64, false), mark(70, false), mark(1, false), mark(0, false)}}}}
	require.Equal(t, []string{"p2", "p1", "p1", "after-p1", "before-p1", "zero"}, c.finish(Case{}).Steps[0].Saw)
}

func TestRunRefusesBadCommandLines(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"NoCommand":      {},
		"UnknownCommand": {"dance"},
		"UnknownFlag":    {"list", "-nonsense"},
		"BadExpression":  {"list", "-only", "("},
		"NothingChosen":  {"list", "-only", "no such case"},
		"NoCA":           {"list", "-tls-ca", filepath.Join(t.TempDir(), "missing.pem")},
		"NoGolden":       {"compare", "-golden", filepath.Join(t.TempDir(), "missing.json")},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			require.Equal(t, exitError, run(t.Context(), args, &out, &errs))
			require.NotEmpty(t, errs.String())
		})
	}
}

func TestListNamesEveryCaseOfTheRecord(t *testing.T) {
	t.Parallel()
	old, err := load(recordFile)
	require.NoError(t, err)
	var out, errs bytes.Buffer
	require.Equal(t, exitEqual, run(t.Context(), []string{"list"}, &out, &errs), errs.String())
	for _, r := range old.Cases {
		require.Contains(t, out.String(), r.id()+"\n")
	}
}
