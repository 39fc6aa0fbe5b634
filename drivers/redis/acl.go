// SPDX-License-Identifier: Apache-2.0

package redis

// ACL returns the rules of the user with the fewest rights that the driver works
// with, for keys that begin with the prefix: what follows the name and password
// in ACL SETUSER. A Cluster needs the last of them; Sentinels have users of their
// own, see docs/redis.md.
func ACL(prefix string) []string {
	return []string{
		"~{" + prefix + ":*",
		"+evalsha", "+eval", "+time", "+info", "+hello", "+ping", "+role", "+select", "+client|setname",
		"+hget", "+hmget", "+hset", "+hdel", "+hlen",
		"+zadd", "+zrem", "+zremrangebylex", "+zrangebylex", "+zrangebyscore",
		"+xadd", "+xrange", "+xread", "+xtrim", "+xlen",
		"+get", "+set", "+del", "+wait",
		"+cluster|slots", "+cluster|shards", "+cluster|info", "+asking",
	}
}
