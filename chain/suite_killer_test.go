// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// product is what stands behind a link, and can be killed.
type product interface {
	// connect returns a connection. It outlives the product.
	connect() driver.Store
	// epoch returns that which it holds; the zero value if nobody can tell.
	epoch(ctx context.Context) driver.Epoch
	// expendable reports whether it may be killed now.
	expendable() bool
	// die ends all calls, and the data if erase is set.
	die(erase bool)
	// revive lets it serve again.
	revive()
}

// killer kills the active link of a chain again and again.
type killer struct {
	c      *suitedChain
	random *rand.Rand
}

func (k *killer) run(ctx context.Context) {
	for k.sleep(ctx, k.upTo(30)) {
		var victim product
		var name string
		protected := func() bool {
			e, ok := k.protected(ctx)
			if ok {
				name, victim = e.Active, k.c.products[slices.Index(linkNames, e.Active)]
			}
			return ok && victim.expendable()
		}
		if !k.until(ctx, protected) {
			return
		}
		erase := len(k.c.products) > 1 && (k.c.erases || k.random.IntN(3) == 0)
		k.c.log.Info("KILL", zap.String("link", name), zap.Bool("erase", erase))
		victim.die(erase)
		k.c.mu.Lock()
		k.c.killed = append(k.c.killed, time.Now())
		k.c.mu.Unlock()
		k.c.kills.Add(1)
		if erase {
			k.c.erased.Add(1)
		}
		if len(k.c.products) > 1 {
			// Who has not heard of the failover yet may read what has been overtaken.
			k.until(ctx, func() bool {
				e := k.highest(ctx)
				return e.Active != name && e.Number > 0 && k.c.follow(e.Number)
			})
		}
		k.sleep(ctx, k.upTo(5))
		victim.revive()
		k.c.log.Info("REVIVE", zap.String("link", name))
	}
}

// deaths returns when links were killed up to now; more may be, meanwhile.
func (c *suitedChain) deaths() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.killed)
}

// upTo returns a random time of so many milliseconds, or as long as those are where
// time is real.
func (k *killer) upTo(n int64) time.Duration {
	return time.Duration(k.random.Int64N(n * int64(k.c.pace())))
}

func (k *killer) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *killer) until(ctx context.Context, condition func() bool) bool {
	for !condition() {
		if !k.sleep(ctx, k.c.pace()) {
			return false
		}
	}
	return true
}

// epochs returns the epoch of each link.
func (k *killer) epochs(ctx context.Context) (held []driver.Epoch) {
	for _, p := range k.c.products {
		held = append(held, p.epoch(ctx))
	}
	return held
}

// highest returns the highest epoch of all links.
func (k *killer) highest(ctx context.Context) driver.Epoch { return latest(k.epochs(ctx)) }

func latest(held []driver.Epoch) driver.Epoch {
	return slices.MaxFunc(held, func(a, b driver.Epoch) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Version, b.Version))
	})
}

// protected reports whether all links are in step, and know it, and in which epoch.
func (k *killer) protected(ctx context.Context) (driver.Epoch, bool) {
	held := k.epochs(ctx)
	e := latest(held)
	return e, e.Number > 0 && e.State == driver.Serving && len(e.InSync) == len(k.c.products)-1 &&
		!slices.ContainsFunc(held, func(other driver.Epoch) bool { return !other.Equal(e) })
}
