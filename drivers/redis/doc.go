// SPDX-License-Identifier: Apache-2.0

// Package redis keeps the records of a chain in Redis 7.0 or later: a single
// node, a master watched by Sentinels, or a Cluster. It is for programs that link
// the driver; applications name it in the configuration of a chain.
//
// Each batch is one script per shard, and so one atomic step. All keys of a shard
// carry one hash tag, {<prefix>:<chain>:<shard>}, and all are declared; the time
// is the server's. See docs/redis.md for configuration, rights and limits.
package redis
