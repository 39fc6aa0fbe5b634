// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// execDurable runs a script and waits on the same connection until what it wrote
// is as durable as configured. The scripts write something also for a repeat, so
// that the wait after a repeat speaks of the transition that it repeats.
func (s *Store) execDurable(ctx context.Context, session *session, sc script, keys, args []string) ([]rueidis.RedisMessage, error) {
	var out []rueidis.RedisMessage
	err := session.client.Dedicated(func(c rueidis.DedicatedClient) error {
		command := c.B().Eval().Script(sc.text).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
		results := c.DoMulti(ctx, command, s.durability.wait(c, time.Duration(s.config.DurabilityTimeout)))
		var err error
		if out, err = results[0].ToArray(); err != nil {
			return err
		}
		if _, refused := rueidis.IsRedisErr(results[1].Error()); refused {
			s.connector.drop(session) // the next session looks first whether the server can wait
		}
		return s.waited(results[1])
	})
	return out, err
}

// wait is the command that waits for at most limit.
func (d durability) wait(c rueidis.DedicatedClient, limit time.Duration) rueidis.Completed {
	ms := strconv.FormatInt(limit.Milliseconds(), 10)
	if d.fsync {
		return c.B().Arbitrary("WAITAOF", "1", "0", ms).Blocking()
	}
	return c.B().Arbitrary("WAIT", strconv.Itoa(d.replicas), ms).Blocking()
}

// canWait proves that the server takes the command that waits, so that nothing is
// applied that it would then refuse to confirm.
func (d durability) canWait(ctx context.Context, c rueidis.DedicatedClient) error {
	if !d.waits() {
		return nil
	}
	err := c.Do(ctx, d.wait(c, time.Millisecond)).Error()
	if answer, ok := rueidis.IsRedisErr(err); ok && strings.Contains(answer.Error(), "cannot be used with replica") {
		return nil // it takes no mutation either
	}
	return err
}

// waited reads the answer to WAIT or WAITAOF. The script has run by now, so what
// goes wrong here leaves the outcome unknown.
func (s *Store) waited(r rueidis.RedisResult) error {
	want, confirmed := int64(s.durability.replicas), int64(0)
	var err error
	if s.durability.fsync {
		var counts []int64
		if counts, err = r.AsIntSlice(); err == nil && len(counts) > 0 {
			want, confirmed = 1, counts[0]
		}
	} else {
		confirmed, err = r.AsInt64()
	}
	if err != nil {
		return &driver.Error{Class: driver.Unknown, Detail: "applied, but the wait for durability " + s.config.Durability + " failed", Cause: err}
	}
	if confirmed < want {
		return &driver.Error{Class: driver.Unknown, Detail: fmt.Sprintf(
			"applied, but %d of %d confirmed it within %s (durability %s)", confirmed, want, time.Duration(s.config.DurabilityTimeout), s.config.Durability)}
	}
	return nil
}
