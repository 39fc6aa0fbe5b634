// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Forecast is what would happen if the active link failed now.
type Forecast struct {
	At     time.Time `json:"at"`
	Active string    `json:"active"`
	// Target is the link that would take over. Empty: none can, and calls would wait
	// to their deadlines until Active serves again.
	Target string `json:"target"`
	// Stale is whether Target misses something that was acknowledged, and serves all
	// the same as Policy.StaleStandby says.
	Stale bool `json:"stale"`
	// Within is the longest that calls would wait for the failover to begin: the
	// budget of an incident.
	Within driver.Duration `json:"within"`
	// Protected is whether a standby would be in step behind Target.
	Protected bool `json:"protected"`
	// Waits is whether mutations would wait behind Target all the same, since fewer
	// standbys would be in step than Policy.MinInSync.
	Waits bool `json:"waits"`
	// Frozen is why nothing would be done by this host; empty: it is not frozen.
	Frozen string      `json:"frozen,omitempty"`
	Links  []Candidate `json:"links"` // all others, in the order of the chain
}

// Candidate is a link that is not active.
type Candidate struct {
	Name string `json:"name"`
	Fit  bool   `json:"fit"` // it could take over
	// Why it could not, or what speaks against it although it could.
	Why string `json:"why,omitempty"`
}

// DryRun tells what would happen if the active link failed now. It asks all
// other links, as a failover would, and changes nothing. It returns when all have
// answered, or the limit of one attempt has passed, or ctx is done; a link that
// has not answered is not fit.
func (c *Chain) DryRun(ctx context.Context) Forecast {
	v, p := c.view.Load(), c.policy()
	f := Forecast{At: now(), Active: v.active.name, Within: driver.Duration(p.Timeout)}
	if frozen := c.frozen.Load(); frozen != nil {
		f.Frozen = frozen.Reason
	}
	answers := map[*link]<-chan error{}
	for _, l := range v.standbys {
		answer := make(chan error, 1)
		answers[l] = answer
		go func() { answer <- c.couldServe(ctx, v, l) }()
	}
	inStep := -1 // Target itself is none of the standbys
	for _, l := range c.links {
		if l == v.active {
			continue
		}
		candidate := Candidate{Name: l.name}
		if answer, ok := answers[l]; !ok {
			candidate.Why = "it is out of step: it has to be brought up to date first"
		} else if err := <-answer; err != nil {
			candidate.Why = err.Error()
		} else {
			candidate.Fit, candidate.Why = true, warnings(l)
			inStep++
			if f.Target == "" {
				f.Target = l.name
			}
		}
		f.Links = append(f.Links, candidate)
	}
	if f.Target == "" {
		if l, _ := c.stale(ctx, v, nil); l != nil {
			i := slices.IndexFunc(f.Links, func(one Candidate) bool { return one.Name == l.name })
			f.Target, f.Stale, f.Links[i].Fit, inStep = l.name, true, true, 0
		}
	}
	f.Protected = inStep > 0
	f.Waits = f.Target != "" && inStep < p.MinInSync
	return f
}

// couldServe returns why the standby l of v could not take over.
func (c *Chain) couldServe(ctx context.Context, v *view, l *link) error {
	if lost := l.distrusted(); lost != nil {
		return lost
	}
	held, err := attempt(ctx, c.ctx, c.policy().Attempt, func(ctx context.Context) (driver.Epoch, error) { return c.consider(ctx, v, l) }, func(error) {})
	if err != nil {
		return err
	}
	return v.fit(l, held)
}

// warnings returns what the latest status check found wrong with a link.
func warnings(l *link) string {
	check := l.checked()
	var why causes
	if check.Err != nil {
		why = append(why, check.Err)
	}
	for _, p := range check.Probe.Problems {
		why = append(why, &driver.Error{Class: driver.Unavailable, Store: l.name, Detail: p.Code + ": " + p.Text})
	}
	return why.Error()
}
