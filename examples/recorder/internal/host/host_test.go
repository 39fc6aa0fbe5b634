// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/chain"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *chain.Chain {
	t.Helper()
	c, err := chain.Open(t.Context(), chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Store: contracttest.NewModel(nil).Connect()}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.WithoutCancel(t.Context()))) })
	return c
}

// master has a call that nobody took, a line that lists it again, and one that cannot be read.
const master = `"","1001","1002","internal","","SIP/1001-1","","Dial","","2026-03-02 08:00:00","","2026-03-02 08:00:09",9,0,"NO ANSWER","DOCUMENTATION","1772438400.1",""
"","1001","1002","internal","","SIP/1001-1","","Dial","","2026-03-02 08:00:00","","2026-03-02 08:00:09",9,0,"NO ANSWER","DOCUMENTATION","1772438400.1",""
no call
`

func TestEveryLineEndsWithAReason(t *testing.T) {
	t.Parallel()
	c, dir := open(t), t.TempDir()
	for range 2 { // the second time starts nothing anew
		in := &host.Intake{Chain: c, Zone: time.UTC, Callers: 2}
		lines, err := in.Run(t.Context(), strings.NewReader(master))
		require.NoError(t, err)
		require.Equal(t, 3, lines)
	}
	_, err := c.Start(t.Context(), chain.Workflow{ID: "strange", Kind: host.Kind, Input: []byte("no JSON")})
	require.NoError(t, err)

	j, err := job.New(job.Config{Monitor: dir, Archive: filepath.Join(dir, "archive"),
		Index: filepath.Join(dir, "index.ndjson"), SetAside: filepath.Join(dir, "set-aside.ndjson")})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	go func() { worked <- c.Work(ctx, host.Kind, host.Handler(j, nil), chain.WorkOptions{}) }()
	require.NoError(t, host.AllDone(t.Context(), c))
	stop()
	require.NoError(t, <-worked)
	require.NoError(t, j.Close())

	all, err := host.Workflows(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, all, 4)
	reasons := ""
	for _, r := range all {
		require.Equal(t, driver.Failed, r.Status, r.ID)
		reasons += r.Failure + "\n"
	}
	for _, want := range []string{"unanswered", "listed twice", "unreadable", "no line of a call-detail file"} {
		require.Contains(t, reasons, want)
	}
}

func TestIntakeStopsAtAnError(t *testing.T) {
	t.Parallel()
	c := open(t)
	_, err := c.Start(t.Context(), chain.Workflow{ID: "1772438400.1", Kind: "other"})
	require.NoError(t, err)
	in := &host.Intake{Chain: c, Zone: time.UTC}
	_, err = in.Run(t.Context(), strings.NewReader(master))
	require.ErrorIs(t, err, driver.Exists)
}

func TestAllDoneSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	c := open(t)
	_, err := c.Start(t.Context(), chain.Workflow{ID: "left", Kind: host.Kind})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = host.AllDone(ctx, c)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
