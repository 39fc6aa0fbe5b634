// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"hash/fnv"
	"strconv"
)

// keys of one shard. All carry its hash tag and so lie in one slot.
type keys struct {
	tag    string
	common []string // in the order in which the scripts expect them
}

// newKeys returns the keys of a shard: m state, r records (hash by id), x index
// (sorted set by bytes), l the same for leased records, e expiry (sorted set by
// time), f feed (stream).
func newKeys(prefix, chain string, shard int) keys {
	tag := "{" + prefix + ":" + chain + ":" + strconv.Itoa(shard) + "}"
	return keys{tag: tag, common: []string{tag + ":m", tag + ":r", tag + ":x", tag + ":l", tag + ":e", tag + ":f"}}
}

// with returns the common keys and one more for each suffix.
func (k keys) with(suffixes ...string) []string {
	all := append(make([]string, 0, len(k.common)+len(suffixes)), k.common...)
	for _, s := range suffixes {
		all = append(all, k.tag+s)
	}
	return all
}

func (k keys) feed() string { return k.common[5] }

// shardOf returns the shard of an id. It must never change: records are found by it.
func shardOf(id string, shards int) int {
	if shards == 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % uint32(shards))
}
