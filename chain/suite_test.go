// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/understudy-dev/understudy/chain"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// suitePolicy is a policy that lets failovers, resyncs and failbacks come many times
// in a case.
var suitePolicy = chain.Policy{
	Timeout: time.Second, Attempt: 200 * time.Millisecond, Mirror: 200 * time.Millisecond, Handover: 200 * time.Millisecond,
	Backoff: time.Millisecond, MaxBackoff: 8 * time.Millisecond,
	Check:    chain.Check{Interval: 20 * time.Millisecond, Rise: 2},
	HoldDown: 30 * time.Millisecond, MaxHoldDown: 60 * time.Millisecond,
}

// suited is a chain that the suite of the contract is run through: the links of
// each chain of a case, and what has happened to them.
type suited struct {
	links   int
	killing bool

	mu     sync.Mutex
	chains map[string]*suitedChain
}

type suitedChain struct {
	*suited
	products []*mortal
	applied  chain.Applied
	hosts    atomic.Int64
	log      *zap.Logger // into what the case says if it fails
}

// happened counts what the killers of all cases have done.
type happened struct{ kills, returns atomic.Int64 }

func (s *suited) of(t contracttest.T, name string, seen *happened) *suitedChain {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chains[name] != nil {
		return s.chains[name]
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	seed := hash.Sum64()
	c := &suitedChain{suited: s, log: logInto(t)}
	for i := range s.links {
		c.products = append(c.products, newMortal(seed+uint64(i), 100*time.Microsecond))
	}
	s.chains[name] = c
	if s.killing {
		killer := &killer{c: c, random: rand.New(rand.NewPCG(seed, 1)), seen: seen}
		ctx, stop := context.WithCancel(context.Background())
		over := make(chan struct{})
		go func() {
			defer close(over)
			killer.run(ctx)
		}()
		t.Cleanup(func() {
			stop()
			<-over
		})
	}
	return c
}

// killer kills the active link of a chain again and again.
type killer struct {
	c      *suitedChain
	random *rand.Rand
	seen   *happened
}

func (k *killer) run(ctx context.Context) {
	for k.sleep(ctx, time.Duration(k.random.Int64N(int64(30*time.Millisecond)))) {
		if !k.until(ctx, k.protected) {
			return
		}
		at := slices.Index(linkNames, k.highest().Active)
		victim := k.c.products[at]
		k.c.log.Info("KILL", zap.String("link", linkNames[at]))
		victim.die()
		k.seen.kills.Add(1)
		if len(k.c.products) > 1 && k.random.IntN(3) == 0 {
			k.c.log.Info("ERASE", zap.String("link", linkNames[at]))
			victim.model.Erase() // its data are gone with it
		}
		if len(k.c.products) > 1 {
			k.until(ctx, func() bool { return k.highest().Active != linkNames[at] })
		}
		k.sleep(ctx, time.Duration(k.random.Int64N(int64(5*time.Millisecond))))
		victim.revive()
		k.c.log.Info("REVIVE", zap.String("link", linkNames[at]))
	}
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
		if !k.sleep(ctx, time.Millisecond) {
			return false
		}
	}
	return true
}

// epochs returns the epoch of each link, dead or alive.
func (k *killer) epochs() (held []driver.Epoch) {
	for _, p := range k.c.products {
		resp, _ := p.model.Connect().Epoch(context.Background(), driver.EpochRequest{})
		held = append(held, resp.Epoch)
	}
	return held
}

// highest returns the highest epoch of all links.
func (k *killer) highest() driver.Epoch {
	return slices.MaxFunc(k.epochs(), func(a, b driver.Epoch) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Version, b.Version))
	})
}

// protected reports whether all links are in step, and know it.
func (k *killer) protected() bool {
	e := k.highest()
	return e.State == driver.Serving && len(e.InSync) == len(k.c.products)-1 &&
		!slices.ContainsFunc(k.epochs(), func(held driver.Epoch) bool { return !held.Equal(e) })
}

func (s *suited) harness(seen *happened) contracttest.Harness {
	return contracttest.Harness{
		Chain:        true,
		Timeout:      3 * time.Minute, // of the bubble
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
		Open: func(t contracttest.T, name string) (driver.Store, error) {
			data := s.of(t, name, seen)
			config := chain.Config{Name: name, Policy: suitePolicy, Host: fmt.Sprint("host-", data.hosts.Add(1))}
			for i, p := range data.products {
				config.Links = append(config.Links, chain.Link{Name: linkNames[i], Store: p.connect()})
			}
			c, err := chain.Open(t.Context(), config, chain.WithLogger(data.log))
			if err != nil {
				return nil, err
			}
			return c.AsStore(&data.applied), nil
		},
	}
}

// runSuite runs the suite on chains of a number of links, each case in a bubble
// of its own time.
func runSuite(t *testing.T, links int, killing bool, excuses map[string]string) *happened {
	t.Helper()
	var seen happened
	for _, c := range contracttest.Cases() {
		t.Run(c.FullName(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &suited{links: links, killing: killing, chains: map[string]*suitedChain{}}
				h := s.harness(&seen)
				h.Excuse = excuses
				require.NoError(t, h.Validate())
				r := contracttest.Check(t.Context(), h, c)
				require.NotEqual(t, contracttest.Failed, r.Outcome, r.Output)
			})
		})
	}
	return &seen
}

func TestSuiteThroughAChainOfOne(t *testing.T) {
	t.Parallel()
	runSuite(t, 1, false, nil)
}

func TestSuiteThroughAChainOfTwo(t *testing.T) {
	t.Parallel()
	runSuite(t, 2, false, nil)
}

func TestSuiteWhileTheActiveLinkDies(t *testing.T) {
	t.Parallel()
	var seen *happened
	t.Cleanup(func() { fmt.Println(seen.kills.Load()) })
	seen = runSuite(t, 2, true, nil)
}

// logInto returns a logger into what a case says.
func logInto(t contracttest.T) *zap.Logger {
	config := zap.NewDevelopmentEncoderConfig()
	config.EncodeTime = zapcore.TimeEncoderOfLayout("04:05.000000")
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.AddSync(sayer{t}), zap.InfoLevel))
}

type sayer struct{ contracttest.T }

func (s sayer) Write(line []byte) (int, error) {
	s.Logf("%s", line)
	return len(line), nil
}
