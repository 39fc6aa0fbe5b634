// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"hash/fnv"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// keys of one shard. All carry its hash tag and so lie in one slot.
type keys struct {
	tag    string
	common []string // in the order in which the scripts expect them
}

// newKeys returns the keys of a shard: m state, r records (hash by id), x index
// (sorted set by bytes), e expiry (sorted set by time), f feed (stream).
func newKeys(prefix, chain string, shard int) keys {
	tag := "{" + prefix + ":" + chain + ":" + strconv.Itoa(shard) + "}"
	return keys{tag: tag, common: []string{tag + ":m", tag + ":r", tag + ":x", tag + ":e", tag + ":f"}}
}

// with returns the common keys and one more for each suffix.
func (k keys) with(suffixes ...string) []string {
	all := append(make([]string, 0, len(k.common)+len(suffixes)), k.common...)
	for _, s := range suffixes {
		all = append(all, k.tag+s)
	}
	return all
}

func (k keys) feed() string { return k.common[4] }

// shardOf returns the shard of an id. It must never change: records are found by it.
func shardOf(id string, shards int) int {
	if shards == 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % uint32(shards))
}

// indexEntry is the entry of a record in the index of its shard: status, kind, a
// zero byte, due in milliseconds (six bytes, big-endian), id. Sorted by bytes, the
// records of one kind and status stand in the order in which they are due.
func indexEntry(r *driver.Record) string {
	b := make([]byte, 0, 8+len(r.Kind)+len(r.ID))
	b = append(b, byte(r.Status))
	b = append(b, r.Kind...)
	var ms int64
	if !r.Due.IsZero() {
		ms = r.Due.UnixMilli()
	}
	b = append(b, 0, byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms))
	return rueidis.BinaryString(append(b, r.ID...))
}
