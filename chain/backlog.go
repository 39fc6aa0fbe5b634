// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// LagStatus is what a standby of the in-sync set does not have yet of what the
// active link has taken from this host.
type LagStatus struct {
	Records int             `json:"records"` // with MirrorAsync also such as were acknowledged
	Age     driver.Duration `json:"age"`     // since the active link has taken the oldest of them; 0: there is none
}

// backlog is what is on its way to one standby.
type backlog struct {
	mu      sync.Mutex
	records int
	groups  []*mergeGroup // in the order in which they came; the first has not ended
}

func (b *backlog) add(g *mergeGroup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records += len(g.records)
	b.groups = append(b.groups, g)
}

func (b *backlog) remove(g *mergeGroup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records -= len(g.records)
	g.ended = true
	for len(b.groups) > 0 && b.groups[0].ended {
		b.groups[0] = nil
		b.groups = b.groups[1:]
	}
	if len(b.groups) == 0 {
		b.groups = nil
	}
}

func (b *backlog) status() *LagStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	lag := &LagStatus{Records: b.records}
	if len(b.groups) > 0 {
		lag.Age = driver.Duration(time.Since(b.groups[0].taken))
	}
	return lag
}
