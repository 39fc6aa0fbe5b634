// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/rueidis"

	"github.com/understudy-dev/understudy/driver"
)

// reply is what an error reply of Redis means. All say that the server did not
// execute the command.
type reply struct {
	prefix string
	class  driver.Class
	detail string
	moved  bool // the server is not the one to talk to any more: resolve anew
}

// replies are looked through in order; the first prefix that fits counts.
var replies = []reply{
	{"LOADING", driver.Unavailable, "the server is starting and still loads its data", false},
	{"TRYAGAIN", driver.Unavailable, "the slot is being moved to another node", false},
	{"ASK", driver.Unavailable, "the slot is being moved to another node", false},
	{"MOVED", driver.Unavailable, "the slot is on another node: set mode cluster, or auto; if it is, the redirects went in circles", false},
	{"CLUSTERDOWN", driver.Unavailable, "the Cluster does not serve: slots are not covered or there is no quorum", false},
	{"MASTERDOWN", driver.Unavailable, "the server is a replica that has lost its master", true},
	{"READONLY", driver.ReadOnly, "the server is a replica: it was demoted", true},
	{"UNBLOCKED", driver.Unavailable, "the server changed its role", true},
	{"NOREPLICAS", driver.Unavailable, "fewer replicas are connected than min-replicas-to-write demands", false},
	{"NOQUORUM", driver.Unavailable, "the Sentinels have no quorum", false},
	{"OOM", driver.Full, "maxmemory is reached: raise it, or let finished workflows expire sooner", false},
	{"MISCONF", driver.ReadOnly, "the server cannot persist and so takes no writes: look at its disk and log", false},
	{"WAITAOF cannot be used when", driver.Unavailable, "durability fsync needs the append-only file: set appendonly yes", false},
	{"BUSY ", driver.Unavailable, "the server is blocked by a long script", false},
	{"max number of clients", driver.Unavailable, "the server has reached maxclients", false},
	{"NOAUTH", driver.Denied, "the server wants a password: set username and password", false},
	{"WRONGPASS", driver.Denied, "the username or the password is wrong, or the user is off", false},
	{"NOPERM", driver.Denied, "the user lacks a right: see the ACL in docs/redis.md", false},
	{"The user executing the script can't", driver.Denied, "the user lacks a right: see the ACL in docs/redis.md", false},
	{"ACL failure in script", driver.Denied, "the user lacks a right: see the ACL in docs/redis.md", false},
	{"DENIED", driver.Denied, "the server is in protected mode: set a password there", false},
	{"AUTH", driver.Denied, "the server knows no such login", false},
	{"Client sent AUTH", driver.Denied, "the server has no password", false},
	{"No such master with that name", driver.Unavailable, "the Sentinels watch no master of that name: look at master", false},
	{"unknown command 'SENTINEL'", driver.Unavailable, "the server is no Sentinel: with master, addresses are those of the Sentinels", false},
	{"unknown command", driver.Unavailable, "the server lacks a command that the driver needs: it is a Sentinel (set master), older than Redis 7.0, or the command was renamed", false},
}

// lookUp returns what a reply means; anything unknown is a fault of ours that
// another store would meet as well.
func lookUp(text string) reply {
	text = strings.TrimPrefix(text, "ERR ") // the client leaves it out
	for _, r := range replies {
		if strings.HasPrefix(text, r.prefix) {
			return r
		}
	}
	return reply{"", driver.Internal, "the server refused a command", false}
}

// classify makes an error of what a call to the client returned. mutates: without
// an answer the outcome is unknown. moved reports that the session should be made
// anew.
func classify(err error, mutates bool) (moved bool, classified error) {
	if known, ok := errors.AsType[*driver.Error](err); ok {
		return false, known
	}
	if answer, ok := rueidis.IsRedisErr(err); ok {
		r := lookUp(answer.Error())
		return r.moved, &driver.Error{Class: r.class, Detail: r.detail, Cause: err}
	}
	if unsent, ok := errors.AsType[*notSent](err); ok {
		return false, connectError(unsent.cause)
	}
	switch {
	case errors.Is(err, rueidis.ErrNoAddr), errors.Is(err, rueidis.ErrNoSlot):
		return false, &driver.Error{Class: driver.Unavailable, Detail: "no server answers", Cause: err}
	case !mutates:
		return false, &driver.Error{Class: driver.Unavailable, Detail: "no answer", Cause: silent(err)}
	}
	return false, &driver.Error{Class: driver.Unknown, Detail: "the command was sent and no answer came", Cause: silent(err)}
}

// connectError makes an error of a failed connection attempt: nothing was sent.
func connectError(err error) error {
	if known, ok := errors.AsType[*driver.Error](err); ok {
		return known
	}
	if answer, ok := errors.AsType[*rueidis.RedisError](err); ok {
		r := lookUp(answer.Error())
		return &driver.Error{Class: r.class, Detail: r.detail, Cause: err}
	}
	return &driver.Error{Class: driver.Unavailable, Detail: "cannot connect", Cause: silent(err)}
}

// errNoAnswer stands for the end of a wait of the client's own, which must not
// look like the end of the caller's context.
var errNoAnswer = errors.New("the server did not answer in time")

func silent(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errNoAnswer
	}
	return err
}
