// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// models is a product of Models, one for each chain.
type models struct {
	mu     sync.Mutex
	chains map[string]*chain
	frozen bool // the clock stands still unless it is advanced
}

type chain struct {
	model *contracttest.Model
	ahead time.Duration
}

func (m *models) of(name string) *chain {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chains == nil {
		m.chains = map[string]*chain{}
	}
	if m.chains[name] == nil {
		c := &chain{}
		began := time.Now()
		c.model = contracttest.NewModel(func() time.Time {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.frozen {
				return began.Add(c.ahead)
			}
			return time.Now()
		})
		m.chains[name] = c
	}
	return m.chains[name]
}

func (m *models) advance(_ contracttest.T, name string, by time.Duration) {
	c := m.of(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	c.ahead += by
}

// eraseAll empties all stores, as the end of their process would.
func (m *models) eraseAll() {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.chains))
	m.mu.Unlock()
	for _, c := range all {
		c.model.Erase()
	}
}

// harness returns one on m, in which every store is wrapped.
func (m *models) harness(wrap func(driver.Store) driver.Store) contracttest.Harness {
	h := contracttest.Harness{
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
		Open: func(_ contracttest.T, name string) (driver.Store, error) {
			return wrap(m.of(name).model.Connect()), nil
		},
		DropChanges: func(_ contracttest.T, name string) { m.of(name).model.TrimChanges() },
	}
	if m.frozen {
		h.Advance = m.advance
	}
	return h
}

func unchanged(s driver.Store) driver.Store { return s }

// durable declares that the stores outlive their process, as the data of m does.
func durable(h contracttest.Harness) contracttest.Harness {
	return declares(h, append(slices.Clone(h.Capabilities), driver.CapDurable))
}

// declares makes stores that declare the capabilities, whatever they can do.
func declares(h contracttest.Harness, all []driver.Capability) contracttest.Harness {
	open := h.Open
	h.Capabilities = all
	h.Kill = func(contracttest.T, driver.Store) {}
	h.Open = func(t contracttest.T, name string) (driver.Store, error) {
		s, err := open(t, name)
		return onDescribed(func(d *driver.DescribeResponse) { d.Capabilities = slices.Clone(all) })(s), err
	}
	return h
}

// least is a store with no capability.
type least struct {
	driver.NoChanges
	driver.Store
}

func (l least) Changes(ctx context.Context, req driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	return l.NoChanges.Changes(ctx, req, emit)
}

// alone makes stores that have no feed and are opened once at a time.
func alone(h contracttest.Harness) contracttest.Harness {
	h = declares(h, nil)
	open := h.Open
	var opened table[string, bool]
	h.Open = func(t contracttest.T, name string) (driver.Store, error) {
		if taken, _ := opened.load(name); taken {
			return nil, &driver.Error{Class: driver.Unsupported, Op: "open", Detail: "the data is open already"}
		}
		opened.store(name, true)
		s, err := open(t, name)
		return least{Store: s}, err
	}
	return h
}

func TestReferencePasses(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]contracttest.Harness{
		"FrozenClock":         (&models{frozen: true}).harness(unchanged),
		"RealClock":           (&models{}).harness(unchanged),
		"WithoutCapabilities": alone((&models{frozen: true}).harness(unchanged)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contracttest.Run(t, h)
		})
	}
}

// TestReferencePassesWith checks the areas that only some harnesses have.
func TestReferencePassesWith(t *testing.T) {
	t.Parallel()
	for area, h := range map[string]contracttest.Harness{
		"Durable": durable((&models{frozen: true}).harness(unchanged)),
		"Outage":  freezable((&models{frozen: true}).harness(unchanged), unchanged),
	} {
		cases := 0
		for _, c := range contracttest.Cases() {
			if c.Area == area {
				cases++
				r := contracttest.Check(t.Context(), h, c)
				require.Equal(t, contracttest.Passed, r.Outcome, "%s: %s%s", r.Case, r.Reason, r.Output)
			}
		}
		require.NotZero(t, cases, area)
	}
}
