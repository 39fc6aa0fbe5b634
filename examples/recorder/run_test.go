// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/chain"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// What only an operator can mend, such as a full disk or a broken index, is told, and never ends a call.
func TestRunTellsWhyItDoesNotGoOn(t *testing.T) {
	t.Parallel()
	data, out := calls(t, 60), t.TempDir()
	layout := layout(data, out)
	require.NoError(t, os.WriteFile(layout.Index, []byte("no line of an index\n{\"uniqueid\":\"x\"}\n"), 0o600))
	c, err := chain.Open(t.Context(), chain.Config{Name: "recorder", Links: []chain.Link{{Name: "a", Store: contracttest.NewModel(nil).Connect()}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(context.WithoutCancel(t.Context()))) }()

	core, logs := observer.New(zap.WarnLevel)
	mended := errors.New("seen enough")
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	go func() {
		for logs.FilterField(zap.String("step", "archive")).Len() == 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // polls
		}
		end(mended)
	}()
	var stdout bytes.Buffer
	err = archiveAll(ctx, c, layout, filepath.Join(data, sample.MasterFile), time.UTC, 4, zap.New(core), &stdout)
	require.ErrorIs(t, err, mended)
	require.Empty(t, stdout.String(), "no summary of what is not done")
	told := logs.FilterMessage("call not done yet: it is tried again").All()
	require.NotEmpty(t, told)
	require.Contains(t, told[0].ContextMap(), "id")
	require.Contains(t, told[0].ContextMap()["error"], "index.ndjson")
	require.Negative(t, host.WorkOptions(1).Retry.MaxAttempts, "it is never given up")
}
