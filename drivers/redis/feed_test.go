// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

func TestFeedsThatWaitLeaveCallsTheirTurn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{PlainText: true})
	s := open(t, "chain", server.Config(t, map[string]any{"shards": 2}))
	redis.LetCalls(s, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var feeds sync.WaitGroup
	defer feeds.Wait()
	defer cancel()
	told := make(chan string, 100)
	const watchers = 4
	for range watchers {
		began := make(chan struct{})
		feeds.Go(func() {
			err := s.Changes(ctx, driver.ChangesRequest{}, func(b driver.ChangeBatch) error {
				if len(b.Changes) == 0 {
					close(began)
				}
				for _, c := range b.Changes {
					told <- c.ID
				}
				return nil
			})
			if driver.ClassOf(err) != driver.Unavailable {
				t.Errorf("the feed ends with %v", err)
			}
		})
		<-began
	}
	redistest.Eventually(t, "all wait for something new", func() error {
		if n := server.Info(t, "blocked_clients"); n != "8" {
			return errors.New(n + " of 8 wait")
		}
		return nil
	})
	commit(t, s, nil, "a")
	for range watchers {
		require.Equal(t, "a", <-told)
	}
}

func TestFeedThatCannotConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	var deaf atomic.Bool
	server := startFake(t, func(command []string) string {
		switch {
		case command[0] == "HELLO" && deaf.Load():
			return "-"
		case command[0] == "HELLO":
			return ""
		}
		return "*5\r\n$2\r\nok\r\n$8\r\n12345678\r\n:1\r\n:1700000000000\r\n*0\r\n"
	})
	s := open(t, "chain", plain(t, server.addr, brisk))
	_, err := s.Epoch(t.Context(), driver.EpochRequest{}) // connects
	require.Error(t, err, "it is no epoch")
	deaf.Store(true)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := s.Changes(ctx, driver.ChangesRequest{}, func(driver.ChangeBatch) error { return nil })
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}
