// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

// harness is for linked stores on servers that tag tells, for each shard of a
// chain, which to ask.
func harness(config json.RawMessage, shards int, admin func(key string) *redistest.Server) contracttest.Harness {
	return contracttest.Harness{
		Open:         contracttest.Linked(redis.Driver(), func(string) json.RawMessage { return config }),
		Capabilities: driver.Capabilities(),
		Kill: func(t contracttest.T, s driver.Store) {
			store, ok := s.(*redis.Store)
			require.True(t, ok)
			redis.Kill(store)
		},
		DropChanges: dropChanges(shards, admin),
	}
}

// dropChanges makes the feed of a chain forget, as its length and age would.
func dropChanges(shards int, admin func(key string) *redistest.Server) func(contracttest.T, string) {
	return func(t contracttest.T, chain string) {
		for shard := range shards {
			tag := "{us:" + chain + ":" + strconv.Itoa(shard) + "}"
			server := admin(tag)
			client := server.Client()
			sequence, err := client.Do(t.Context(), client.B().Hget().Key(tag+":m").Field("q").Build()).ToString()
			if err != nil {
				continue // a shard that was never used
			}
			require.NoError(t, client.Do(t.Context(), client.B().Del().Key(tag+":f").Build()).Error())
			require.NoError(t, client.Do(t.Context(), client.B().Hset().Key(tag+":m").FieldValue().FieldValue("f", sequence).Build()).Error())
		}
	}
}

func TestContractStandalone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	contracttest.Run(t, harness(server.Config(t, nil), 1, func(string) *redistest.Server { return server }))
}

func TestContractSentinel(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t, redistest.Options{})
	contracttest.Run(t, harness(watched.Config(t, nil), 1, func(string) *redistest.Server { return watched.Servers[0] }))
}

func TestContractCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.Options{})
	contracttest.Run(t, harness(cluster.Config(t, nil), 16, func(tag string) *redistest.Server { return cluster.Owner(t, strings.TrimSpace(tag)) }))
}
