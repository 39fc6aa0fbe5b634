// SPDX-License-Identifier: Apache-2.0

package contracttest_test

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

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

func TestReferencePasses(t *testing.T) {
	t.Parallel()
	t.Run("FrozenClock", func(t *testing.T) {
		t.Parallel()
		contracttest.Run(t, (&models{frozen: true}).harness(unchanged))
	})
	t.Run("RealClock", func(t *testing.T) {
		t.Parallel()
		contracttest.Run(t, (&models{}).harness(unchanged))
	})
}
