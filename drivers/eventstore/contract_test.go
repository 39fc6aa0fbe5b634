// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/plugins/wire/wiretest"
)

func TestContractDirect(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, linked(t, secured(t)))
}

func TestContractWire(t *testing.T) {
	t.Parallel()
	h := linked(t, plain(t))
	open := h.Open
	h.Open = func(ct contracttest.T, chain string) (driver.Store, error) {
		store, err := open(ct, chain)
		if err != nil {
			return nil, err
		}
		return wiretest.InMemory(ct, store), nil
	}
	contracttest.Run(t, h)
}

func TestContractProcess(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, launched(t, secured(t)))
}

// TestContractFrozen takes the cases that need a server which stops answering.
func TestContractFrozen(t *testing.T) {
	t.Parallel()
	h := frozen(t, secured(t))
	for _, c := range contracttest.Cases() {
		if c.Area != "Outage" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			result := contracttest.Check(t.Context(), h, c)
			require.Equal(t, contracttest.Passed, result.Outcome, result.Output)
		})
	}
}

// TestContractEightHosts lets eight stores write to one journal, all wanting the
// same workflows. In the end all have the same, and so has one that comes later.
func TestContractEightHosts(t *testing.T) {
	t.Parallel()
	s, chain := plain(t), uniqueChain(t)
	const hosts, rounds = 8, 30
	of := func(o *eventstore.Options) { o.Chain, o.Slack, o.Tidy = chain, 100, 10*time.Millisecond }
	stores := make([]store, hosts)
	for i := range stores {
		stores[i] = open(t, s, of).ready()
	}
	var wg sync.WaitGroup
	for h, s := range stores {
		wg.Go(func() {
			for i := range rounds {
				var ts []driver.Transition
				for j := range 16 {
					ts = append(ts, newStart(t, fmt.Sprintf("w-%d-%d", i, j), []byte{byte(h)})) // all hosts want the same ids
				}
				if _, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: ts}); err != nil {
					t.Errorf("commit: %v", err)
				}
				if _, err := s.Claim(t.Context(), driver.ClaimRequest{Owner: fmt.Sprint("host-", h), Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 3, Lease: time.Hour}); err != nil {
					t.Errorf("claim: %v", err)
				}
			}
		})
	}
	wg.Wait()
	late := open(t, s, of).ready()
	eventually(t, patience, func() error {
		at, want := stores[0].Digest()
		for _, s := range append(stores[1:], late) {
			if pos, got := s.Digest(); pos != at || got != want {
				return fmt.Errorf("a replica is at %d with %.8s, another at %d with %.8s", pos, got, at, want)
			}
		}
		return nil
	})
}
