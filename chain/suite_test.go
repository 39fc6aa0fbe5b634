// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
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
	links         int
	launch        func(t contracttest.T, chain, link string) product // nil: a mortal
	wrap          func(driver.Store) driver.Store                    // each connection; nil: not
	policy        chain.Policy                                       // zero: suitePolicy
	killing       bool                                               // the active link, again and again
	erases        bool                                               // each time with its data; else now and then
	latest        time.Duration                                      // a call of a mortal takes up to twice this
	kills, erased atomic.Int64                                       // in all cases

	mu     sync.Mutex
	chains map[string]*suitedChain
}

type suitedChain struct {
	*suited
	name     string
	ready    sync.Once
	products []product
	applied  chain.Applied
	opened   []*chain.Chain // under suited.mu
	killed   []time.Time    // under suited.mu
	log      *zap.Logger    // into what the case says if it fails
}

// follow reports whether all hosts act on the epoch.
func (c *suitedChain) follow(number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(c.opened, func(host *chain.Chain) bool { return !host.Follows(number) })
}

// of returns the chain with the name, with its links, of which one dies if s says so.
func (s *suited) of(t contracttest.T, name string) *suitedChain {
	s.mu.Lock()
	c := s.chains[name]
	if c == nil {
		c = &suitedChain{suited: s, name: name, log: logInto(t)}
		s.chains[name] = c
	}
	s.mu.Unlock()
	c.ready.Do(func() { c.begin(t) })
	return c
}

// pace is the unit of time of the killer.
func (c *suitedChain) pace() time.Duration {
	if c.launch != nil {
		return 5 * time.Millisecond // of real time
	}
	return time.Millisecond
}

func (c *suitedChain) begin(t contracttest.T) {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(c.name))
	seed := hash.Sum64()
	for i, link := range linkNames[:c.links] {
		if c.launch != nil {
			c.products = append(c.products, c.launch(t, c.name, link))
		} else {
			c.products = append(c.products, newMortal(seed+uint64(i), c.latest))
		}
	}
	if !c.killing {
		return
	}
	killer := &killer{c: c, random: rand.New(rand.NewPCG(seed, 1))}
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

func (s *suited) harness() contracttest.Harness {
	return contracttest.Harness{
		Chain:        true,
		Failovers:    s.killing && s.links > 1,
		Timeout:      3 * time.Minute, // of the bubble
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
		Open: func(t contracttest.T, name string) (driver.Store, error) {
			data := s.of(t, name)
			c, err := data.open(t)
			if err != nil {
				return nil, err
			}
			return c.AsStore(&data.applied), nil
		},
	}
}

// open opens the chain on one more host.
func (c *suitedChain) open(t contracttest.T) (*chain.Chain, error) {
	config := chain.Config{Name: c.name, Policy: c.policy, Host: "host"}
	if c.policy == (chain.Policy{}) {
		config.Policy = suitePolicy
	}
	for i, p := range c.products {
		store := p.connect()
		if c.wrap != nil {
			store = c.wrap(store)
		}
		config.Links = append(config.Links, chain.Link{Name: linkNames[i], Store: store})
	}
	host, err := chain.Open(t.Context(), config, chain.WithLogger(c.log))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, host)
	return host, nil
}

// runSuite runs the suite on chains as s says, each case in a bubble of its own
// time.
func runSuite(t *testing.T, s *suited, excuses map[string]string) {
	t.Helper()
	s.chains = map[string]*suitedChain{}
	h := s.harness()
	h.Excuse = excuses
	require.NoError(t, h.Validate())
	for _, c := range contracttest.Cases() {
		t.Run(c.FullName(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := contracttest.Check(t.Context(), h, c)
				require.NotEqual(t, contracttest.Failed, r.Outcome, r.Output)
			})
		})
	}
}

func TestSuiteThroughAChainOfOne(t *testing.T) {
	t.Parallel()
	runSuite(t, &suited{links: 1, latest: 100 * time.Microsecond}, nil)
}

func TestSuiteThroughAChainOfTwo(t *testing.T) {
	t.Parallel()
	runSuite(t, &suited{links: 2, latest: 100 * time.Microsecond}, nil)
}

// The only link is killed again and again, keeps its data and comes back: calls
// wait for it.
func TestSuiteWhileTheOnlyLinkDies(t *testing.T) {
	t.Parallel()
	runSuite(t, &suited{links: 1, killing: true, latest: time.Millisecond}, nil)
}

// overFailovers are the cases that a failover breaks by what a chain says of
// itself, or of something that its callers cannot do.
var overFailovers = func() map[string]string {
	const tokens = "a chain gives its claims their tokens itself, and nobody repeats one: leases that a claim did not bring home run out"
	const again = "what has happened shortly before a failover is told again after it"
	return map[string]string{
		"Retention/IsNoChange":                     again,
		"Claim/RepeatClaimsNothingMore":            tokens,
		"Claim/RepeatAtOnceClaimsNothingMore":      tokens,
		"Claim/RepeatGivesNoneOfOthers":            tokens,
		"Context/LeavesAnUnknownOutcomeRepeatable": tokens,
		"Ownership/OfRecordsRead":                  tokens,
		"Changes/TellOfNothingElse":                tokens,
		"Changes/BeginNow":                         "a watch that has no place in the new active link lists all workflows",
	}
}()

// The active link is killed again and again, with or without its data, comes back
// by a resync, and the chain goes back to the first link.
func TestSuiteWhileTheActiveLinkDies(t *testing.T) {
	t.Parallel()
	s := &suited{links: 2, killing: true, latest: time.Millisecond}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		t.Logf("%d kills, %d of them with the data", s.kills.Load(), s.erased.Load())
		require.Greater(t, s.kills.Load(), int64(50))
		require.Greater(t, s.erased.Load(), int64(10))
	})
	runSuite(t, s, overFailovers)
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
