// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// ResyncStatus is how far a resync has come that this host is at. Other hosts do
// not know of it.
type ResyncStatus struct {
	At    time.Time `json:"at"`   // of this report
	Step  string    `json:"step"` // compare, copy or follow
	Done  int64     `json:"done"`
	About int64     `json:"about"` // records of the step; -1: not known
}

// HoldStatus is for how long a link that is in step has to stay healthy before
// this host goes back to it.
type HoldStatus struct {
	Since time.Time       `json:"since"`
	For   driver.Duration `json:"for"`
	Flaps int             `json:"flaps"` // failbacks in a row, up to now, that did not last
}

// wayBack is what the events have told of the way of one link back.
type wayBack struct {
	resync *ResyncStatus
	hold   *HoldStatus
}

// waysBack are those of all links, by name.
type waysBack struct {
	mu    sync.Mutex
	links map[string]wayBack
}

// take takes in an event.
func (w *waysBack) take(e Event) {
	switch e := e.(type) {
	case ResyncStarted:
		w.set(e.Link, wayBack{resync: &ResyncStatus{e.At, e.Step, e.Done, e.About}})
	case ResyncProgress:
		w.set(e.Link, wayBack{resync: &ResyncStatus{e.At, e.Step, e.Done, e.About}})
	case ResyncFailed:
		w.set(e.Link, wayBack{})
	case Joined:
		w.joined(e.Link)
	case HoldDown:
		w.set(e.Link, wayBack{hold: &HoldStatus{e.At, driver.Duration(e.For), e.Flaps}})
	case Switched, Followed, FailedOver:
		w.mu.Lock()
		defer w.mu.Unlock()
		clear(w.links) // what was under way belonged to the former epoch
	}
}

func (w *waysBack) set(link string, way wayBack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.links == nil {
		w.links = map[string]wayBack{}
	}
	w.links[link] = way
}

// joined ends the resync of a link. Its hold-down may have been told before.
func (w *waysBack) joined(link string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if way, known := w.links[link]; known {
		way.resync = nil
		w.links[link] = way
	}
}

func (w *waysBack) of(link string) (*ResyncStatus, *HoldStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	way := w.links[link]
	return way.resync, way.hold
}
