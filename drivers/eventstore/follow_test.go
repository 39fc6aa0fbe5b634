// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// TestFollowerHasNoGapAndNoRepeat cuts the subscription of one host at many places
// while another one writes. The first host tells each change once and in order.
func TestFollowerHasNoGapAndNoRepeat(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	p := newProxy(t, server.Addresses()[0])
	reader, writer := open(t, calm(p.address())).ready(), open(t, calm(server.Addresses()...)).ready()
	const count = 40
	told := make(chan []string, 1)
	begun := make(chan struct{})
	go func() { told <- reader.changes(count, func() { close(begun) }) }()
	<-begun
	var want []string
	for i := range count {
		p.set(func() { p.down = 150 * (i % 20) }) // cuts the connection once that many bytes have come
		want = append(want, writer.put(fmt.Sprint("w-", i)).ID)
	}
	p.set(func() { p.down = -1 })
	require.Equal(t, want, <-told)
	at, digest := writer.Digest()
	eventually(t, patience, func() error {
		if pos, got := reader.Digest(); pos != at || got != digest {
			return fmt.Errorf("%d with %.8s, and %d with %.8s", at, digest, pos, got)
		}
		return nil
	})
}

// changes follows the feed from now on until it has told so many changes, going on
// from its cursor whenever it breaks off.
func (s store) changes(count int, begun func()) []string {
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*patience)
	defer cancel()
	var ids []string
	req := driver.ChangesRequest{}
	enough := errors.New("enough")
	for ctx.Err() == nil && len(ids) < count {
		err := s.Changes(ctx, req, func(b driver.ChangeBatch) error {
			if req.Cursor == "" {
				begun()
			}
			req.Cursor = b.Cursor
			for _, c := range b.Changes {
				ids = append(ids, c.ID)
			}
			if len(ids) >= count {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) && driver.ClassOf(err) != driver.Unavailable {
			s.t.Errorf("the feed ended: %v", err)
			break
		}
	}
	return ids
}

// TestCallsAreBoundedByCallTimeout: the server shows that it is alive and never
// answers the append.
func TestCallsAreBoundedByCallTimeout(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{WriteTimeout: time.Minute})
	short := calm(server.Addresses()...)
	short["response_timeout"], short["call_timeout"] = "2s", "5s"
	s := open(t, short).ready()
	require.NoError(t, server.SetFaults(devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost}))
	tr := newStart(t, "unanswered", nil)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.commit(ctx, tr)
	require.ErrorIs(t, err, driver.Unknown)
	require.ErrorContains(t, err, "call_timeout")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller would have waited")
	require.GreaterOrEqual(t, time.Since(began), 5*time.Second, "a server that is alive is waited for")
	require.NoError(t, server.SetFaults(devserver.Faults{}))
	require.NoError(t, s.commit(ctx, tr))
}

// TestLongCallsAreWaitedFor: the official client ends every call after 10 seconds
// unless it is told otherwise; here only call_timeout and the caller do.
func TestLongCallsAreWaitedFor(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{WriteTimeout: 5 * time.Second})
	s := open(t, settings{"hosts": server.Addresses(), "response_timeout": "2s"}).ready() // waits 2 s for an answer before it asks for a sign of life
	require.NoError(t, server.SetFaults(devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.commit(ctx, newStart(t, "slow", nil))
	require.ErrorIs(t, err, driver.Unknown)
	require.ErrorContains(t, err, "gave up waiting", "the server's own answer")
}
