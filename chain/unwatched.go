// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// A store that restarts may miss what it had acknowledged last. A host that runs
// notices: it knows how far the store had come. For a host that starts anew the
// epoch record says in which incarnation each link that counts was known to hold
// everything, and a store that may have gone back begins another one. See rule 11
// of docs/epochs.md.

// errDoubted is why a host does not act on a link yet.
var errDoubted = errors.New("it has restarted, and no host has said yet that it has watched that")

// blessing is for how many status checks a host waits for others, which may just be
// about to say that they have watched a restart.
const blessing = 2

// noted returns in which incarnation e knows the named link.
func noted(e driver.Epoch, name string) (incarnation uint64, known bool) {
	i := slices.IndexFunc(e.Incarnations, func(k driver.LinkIncarnation) bool { return k.Link == name })
	if i < 0 {
		return 0, false
	}
	return e.Incarnations[i].Incarnation, true
}

// noting returns e with what is known of the named link.
func noting(e driver.Epoch, name string, incarnation uint64) driver.Epoch {
	e = e.Clone()
	e.Incarnations = slices.DeleteFunc(e.Incarnations, func(k driver.LinkIncarnation) bool { return k.Link == name })
	i, _ := slices.BinarySearchFunc(e.Incarnations, name, func(k driver.LinkIncarnation, name string) int { return cmp.Compare(k.Link, name) })
	e.Incarnations = slices.Insert(e.Incarnations, i, driver.LinkIncarnation{Link: name, Incarnation: incarnation})
	return e
}

// counted returns e without what is known of links that do not count in it: they
// come back as others than they were.
func counted(e driver.Epoch) driver.Epoch {
	e = e.Clone()
	e.Incarnations = slices.DeleteFunc(e.Incarnations, func(k driver.LinkIncarnation) bool {
		return k.Link != e.Active && !slices.Contains(e.InSync, k.Link)
	})
	return e
}

// believed reports whether this host knows that the link has lost nothing that the
// chain counts on: it has found it in the incarnation that is noted, or has watched
// it since.
func (l *link) believed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sound
}

// believe makes l believed, by an answer to a call that was sent at sent.
func (l *link) believe(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !sent.Before(l.since) {
		l.sound, l.doubted = true, time.Time{}
	}
}

// doubt returns since when this host doubts the link, and whether that begins now.
func (l *link) doubt() (since time.Time, begins bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if begins = l.doubted.IsZero(); begins {
		l.doubted = time.Now()
	}
	return l.doubted, begins
}

// vet finds out whether l, which counts in v, may be believed by this host: nil, or
// why not. The error is errDoubted as long as that is open, and Lost once it is
// not: the link has restarted while no host watched, and another link holds
// everything. Without such a link nobody is served by a doubt, so there is none.
func (c *Chain) vet(ctx context.Context, v *view, l *link) error {
	if l.believed() {
		return nil
	}
	if lost := l.distrusted(); lost != nil {
		return lost
	}
	sent := time.Now()
	if len(v.standbys) == 0 {
		l.believe(sent)
		return nil
	}
	switch same, err := l.unchanged(ctx, v); {
	case err != nil:
		return err
	case same:
		l.believe(sent)
		return nil
	}
	p := c.policy()
	since, begins := l.doubt()
	switch doubted := time.Since(since); {
	case begins:
		c.log.Warn("a link has restarted, which this host has not watched: it is not used before another host says that it has lost nothing",
			zap.String("link", l.name), zap.Stringer("epoch", v.epoch), zap.Duration("wait", blessing*p.Check.Interval))
		return errDoubted
	case doubted < blessing*p.Check.Interval:
		return errDoubted
	case c.witnessed(ctx, v, l):
		return &driver.Error{Class: driver.Lost, Store: l.name, Op: "read epoch",
			Detail: "it has restarted while no host watched it, and may miss what it had acknowledged last"}
	case doubted < p.Timeout:
		return errDoubted
	}
	c.log.Error("a link has restarted while no host watched it, and no other link answers that holds everything: what it may have lost is not known",
		zap.String("link", l.name), zap.Stringer("epoch", v.epoch))
	l.believe(sent)
	return nil
}

// unchanged reports whether l is in the incarnation that the record of v knows it in,
// if it knows any.
func (l *link) unchanged(ctx context.Context, v *view) (bool, error) {
	was, known := noted(v.epoch, l.name)
	if !known {
		return true, nil
	}
	probe, err := l.probe(ctx)
	return err == nil && probe.Marks.Incarnation() == was, err
}

// witnessed reports whether a link other than l answers that counts in v, holds its
// record, and need not be doubted.
func (c *Chain) witnessed(ctx context.Context, v *view, l *link) bool {
	others := slices.DeleteFunc(append([]*link{v.active}, v.standbys...), func(o *link) bool { return o == l || o.distrusted() != nil })
	answers := make(chan bool, len(others))
	for _, o := range others {
		go func() {
			holds, err := attempt(ctx, v.ctx, c.policy().Attempt/4, func(ctx context.Context) (bool, error) { return o.witnesses(ctx, v) }, func(error) {})
			answers <- holds && err == nil
		}()
	}
	for range others {
		if <-answers {
			return true
		}
	}
	return false
}

func (l *link) witnesses(ctx context.Context, v *view) (bool, error) {
	held, err := l.epoch(ctx)
	if err == nil && l != v.active {
		err = v.fit(l, held)
	}
	if err != nil || l == v.active && !held.Equal(v.epoch) {
		return false, err
	}
	if l.believed() {
		return true, nil
	}
	return l.unchanged(ctx, v)
}

// vetStandby is vet for a standby of v that has passed a status check. One that has
// lost data leaves the set.
func (c *Chain) vetStandby(v *view, l *link) {
	_, err := attempt(c.ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.vet(ctx, v, l) }, func(error) {})
	if driver.ClassOf(err) == driver.Lost {
		l.failed(err)
		c.dropLost(v, l)
	}
}

// vouch notes in the record of v in which incarnation l is by a probe that was sent
// in v and found nothing missing, unless that is known. A record that has changed
// since the probe was sent stays as it is: nobody overrides what he has not seen.
func (c *Chain) vouch(v *view, l *link, probe driver.ProbeResponse) {
	incarnation := probe.Marks.Incarnation()
	was, known := noted(v.epoch, l.name)
	switch {
	case known && was == incarnation, !v.counts(l), len(v.standbys) == 0, // nobody to doubt it for
		v.epoch.State != driver.Serving, !v.trusted(), !l.believed(), l.distrusted() != nil,
		!c.vouching.CompareAndSwap(false, true):
		return
	}
	c.background(func() {
		defer c.vouching.Store(false)
		next := noting(version(v.epoch), l.name, incarnation)
		if c.alter(c.ctx, v, next) == nil { // else others were faster, or the next status check tries again
			c.log.Info("noted that a link has lost nothing", zap.String("link", l.name), zap.Stringer("epoch", next))
		}
	})
}

// survey returns what the record that brings links into the set of v is to know:
// in which incarnation they and the active link are.
func (c *Chain) survey(ctx context.Context, v *view, links []*link) ([]driver.LinkIncarnation, error) {
	var found []driver.LinkIncarnation
	for _, l := range append(slices.Clone(links), v.active) {
		probe, err := attempt(ctx, v.ctx, c.policy().Attempt, func(ctx context.Context) (driver.ProbeResponse, error) {
			return l.probeSince(ctx, l.seen())
		}, func(error) {})
		if err != nil {
			return nil, err
		}
		found = append(found, driver.LinkIncarnation{Link: l.name, Incarnation: probe.Marks.Incarnation()})
	}
	return found, nil
}
