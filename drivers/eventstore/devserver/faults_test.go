// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestFaultNotReady(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{Faults: devserver.Faults{NotReady: time.Hour}})
	_, _, err := f.wire.append(t.Context(), "s", uuid.New())
	requireStatus(t, codes.Unavailable, err)
	require.ErrorContains(t, err, "Server Is Not Ready")
	_, _, err = f.wire.read(t.Context(), streamRead("s"))
	requireStatus(t, codes.Unavailable, err)
	require.NoError(t, f.server.SetFaults(devserver.Faults{NotReady: 200 * time.Millisecond}))
	require.Eventually(t, func() bool {
		_, _, err := f.wire.append(t.Context(), "s", uuid.New())
		return err == nil
	}, waiting, 10*time.Millisecond)
}

func TestFaultNotLeader(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{Faults: devserver.Faults{NotLeader: "127.0.0.1:9"}})
	_, trailer, err := f.wire.append(t.Context(), "s", uuid.New())
	requireStatus(t, codes.NotFound, err)
	require.Equal(t, "not-leader", one(trailer, "exception"))
	require.Equal(t, "127.0.0.1", one(trailer, "leader-endpoint-host"))
	require.Equal(t, "9", one(trailer, "leader-endpoint-port"))
	_, _, err = f.wire.read(t.Context(), streamRead("s"))
	require.NoError(t, err, "reads that do not require a leader go on")
	_, _, err = f.wire.read(leaderOnly(t.Context()), streamRead("s"))
	requireStatus(t, codes.NotFound, err)
}

func TestFaultCommitTimeout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults devserver.Faults
		codes  []codes.Code // of four appends
		want   []uint64
	}{
		{
			name: "Lost", faults: devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost},
			codes: []codes.Code{codes.Aborted, codes.Aborted, codes.Aborted, codes.Aborted},
		},
		{
			name: "Written", faults: devserver.Faults{CommitTimeout: devserver.CommitTimeoutWritten},
			codes: []codes.Code{codes.Aborted, codes.Aborted, codes.Aborted, codes.Aborted}, want: []uint64{0, 1, 2, 3},
		},
		{
			name: "EverySecondLost", faults: devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost, Every: 2},
			codes: []codes.Code{codes.OK, codes.Aborted, codes.OK, codes.Aborted}, want: []uint64{0, 1},
		},
		{
			name: "EveryThirdWritten", faults: devserver.Faults{CommitTimeout: devserver.CommitTimeoutWritten, Every: 3},
			codes: []codes.Code{codes.OK, codes.OK, codes.Aborted, codes.OK}, want: []uint64{0, 1, 2, 3},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, devserver.Options{Faults: test.faults, WriteTimeout: 10 * time.Millisecond})
			for _, want := range test.codes {
				_, _, err := f.wire.append(t.Context(), "s", uuid.New())
				requireStatus(t, want, err)
			}
			if test.want != nil {
				require.Equal(t, test.want, f.revisions("s"))
			}
		})
	}
}

func TestFaultCommitTimeoutLetsTheCallerGo(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{Faults: devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost}, WriteTimeout: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := f.wire.append(ctx, "s", uuid.New())
	requireStatus(t, codes.DeadlineExceeded, err)
}

func TestFaultCommitTimeoutInBatchAppend(t *testing.T) {
	t.Parallel()
	f := setup(t, devserver.Options{})
	b := f.batch()
	for _, fate := range []devserver.CommitTimeout{devserver.CommitTimeoutLost, devserver.CommitTimeoutWritten} {
		require.NoError(t, f.server.SetFaults(devserver.Faults{CommitTimeout: fate}))
		b.send(uuid.New(), true, to("s"), 1)
		require.EqualValues(t, code.Code_DEADLINE_EXCEEDED, b.recv().GetError().GetCode())
	}
	require.NoError(t, f.server.SetFaults(devserver.Faults{}))
	require.Equal(t, []uint64{0}, f.revisions("s"))
}

func TestSetFaultsRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	for _, f := range []devserver.Faults{{NotReady: -1}, {Every: -1}, {CommitTimeout: "sometimes"}, {NotLeader: "nowhere"}, {NotLeader: "host:port"}} {
		require.Error(t, server.SetFaults(f))
		_, err := devserver.Start(devserver.Options{Faults: f})
		require.Error(t, err)
	}
}
