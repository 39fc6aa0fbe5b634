// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// process is the server as a program of its own.
type process struct {
	command *exec.Cmd
	address string
	log     *bytes.Buffer // to be read once it was killed
}

func launch(t *testing.T, data string, env ...string) *process {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], "-listen", "127.0.0.1:0", "-data", data)
	command.Env = append(append(os.Environ(), serverProcess+"=1"), env...)
	log := &bytes.Buffer{}
	command.Stderr = log
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	address, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "esdb://"), "?")
	return &process{command: command, address: address, log: log}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.command.Process.Kill())
	require.Error(t, p.command.Wait(), "it was killed")
}

// acknowledged is what a writer was told: the first event id of each append, by revision of its last event.
type acknowledged struct {
	mu     sync.Mutex
	events map[string]map[uint64]uuid.UUID
}

func (a *acknowledged) note(stream string, last uint64, id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.events[stream] == nil {
		a.events[stream] = map[uint64]uuid.UUID{}
	}
	a.events[stream][last] = id
}

func (a *acknowledged) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, events := range a.events {
		n += len(events)
	}
	return n
}

// load writes from several callers until a write fails.
func (a *acknowledged) load(ctx context.Context, address string, callers int) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	w := wire{conn: conn, streams: api.NewStreamsClient(conn)}
	var running sync.WaitGroup
	for caller := range callers {
		running.Go(func() {
			for i := 0; ; i++ {
				stream := fmt.Sprintf("s%d", (caller+i)%3)
				batch := ids(1 + i%4)
				r, _, err := w.append(ctx, stream, batch...)
				if err != nil {
					return
				}
				a.note(stream, r.GetSuccess().GetCurrentRevision(), batch[len(batch)-1])
			}
		})
	}
	running.Wait()
	return nil
}

// TestNothingAcknowledgedIsLostWhenKilled kills the server again and again under load.
func TestNothingAcknowledgedIsLostWhenKilled(t *testing.T) {
	t.Parallel()
	const rounds, callers, perRound = 8, 8, 200
	data := t.TempDir()
	told := &acknowledged{events: map[string]map[uint64]uuid.UUID{}}
	for round := range rounds {
		p := launch(t, data)
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), waiting)
		go func() { ended <- told.load(ctx, p.address, callers) }()
		before := told.count()
		require.Eventually(t, func() bool { return told.count() >= before+perRound+round*17 }, waiting, time.Millisecond)
		p.kill(t)
		require.NoError(t, <-ended)
		cancel()
	}
	told.verify(t, data)
	require.Greater(t, told.count(), rounds*perRound)
}

// TestNothingAcknowledgedIsLostWhenTheDiskIsFull writes until there is no room.
func TestNothingAcknowledgedIsLostWhenTheDiskIsFull(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	told := &acknowledged{events: map[string]map[uint64]uuid.UUID{}}
	p := launch(t, data, fileLimit+"=300000")
	ctx, cancel := context.WithTimeout(t.Context(), waiting)
	defer cancel()
	require.NoError(t, told.load(ctx, p.address, 4), "until a write fails")
	require.NoError(t, ctx.Err())
	conn, err := grpc.NewClient("passthrough:///"+p.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, _, err = (wire{conn: conn, streams: api.NewStreamsClient(conn)}).read(ctx, streamRead("s0"))
	require.NoError(t, err, "it can still be read")
	p.kill(t)
	require.Contains(t, p.log.String(), "its disk has room")
	told.verify(t, data)
	require.NotZero(t, told.count())
}

// verify reads everything that was acknowledged.
func (a *acknowledged) verify(t *testing.T, data string) {
	t.Helper()
	server, err := devserver.Start(devserver.Options{Data: data})
	require.NoError(t, err, "the store is readable")
	defer func() { require.NoError(t, server.Close()) }()
	w := dial(t, server, 0)
	defer func() { require.NoError(t, w.conn.Close()) }()
	for stream, events := range a.events {
		got, _, err := w.read(t.Context(), streamRead(stream))
		require.NoError(t, err)
		for i, m := range got {
			require.EqualValues(t, i, m.GetEvent().GetEvent().GetStreamRevision(), "revisions have no gap")
		}
		for last, id := range events {
			require.Less(t, last, uint64(len(got)), "%s: revision %d was acknowledged and is lost", stream, last)
			require.Equal(t, id.String(), got[last].GetEvent().GetEvent().GetId().GetString_())
		}
	}
}
