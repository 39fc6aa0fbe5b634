// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Overview is the state of a chain as one host sees it. As JSON it has stable
// keys; durations are texts such as "2.5s".
type Overview struct {
	Chain string      `json:"chain"`
	Host  string      `json:"host"`
	At    time.Time   `json:"at"`
	Epoch EpochStatus `json:"epoch"`
	// Condition is what callers meet; see [Condition].
	Condition Condition `json:"condition"`
	// Protected is whether a standby holds everything that was acknowledged. A chain
	// of one link never is.
	Protected bool `json:"protected"`
	// Unmirrored is how many records were acknowledged by this host and are not yet
	// on every standby in step: the lag of the mirror, which Links tell for each
	// standby. 0 with MirrorSync.
	Unmirrored int              `json:"unmirrored"`
	InFlight   int              `json:"in_flight"` // calls that are not answered
	Frozen     *Freezing        `json:"frozen,omitempty"`
	Incidents  []IncidentStatus `json:"incidents"` // of the active link; empty: it serves
	Links      []LinkStatus     `json:"links"`     // in the order of the chain
	// Transitions are the latest events, the oldest first; at most 100.
	Transitions []Transition `json:"transitions"`
}

// Condition is what the calls of an application meet at the moment.
type Condition string

// The conditions, from good to bad.
const (
	Serves      Condition = "serves"
	Fails       Condition = "fails"      // the active link fails; its budget is not used up, or it is only slow and no standby can take over
	HandsOver   Condition = "hands over" // mutations are held back for a moment, as a link joins
	FailsOver   Condition = "fails over" // calls wait for the next link
	WaitsInSync Condition = "waits"      // mutations wait: fewer standbys are in step than MinInSync
	Down        Condition = "down"       // no link can serve: calls wait to their deadlines
)

// EpochStatus is the epoch record that the host acts on.
type EpochStatus struct {
	Number  uint64   `json:"number"` // 0: none has been found yet
	Version uint64   `json:"version"`
	Active  string   `json:"active"`
	State   string   `json:"state"` // serving or handover
	InSync  []string `json:"in_sync"`
}

// Freezing is what [Chain.Freeze] has begun.
type Freezing struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// IncidentStatus is a row of failures of the active link.
type IncidentStatus struct {
	Of       string          `json:"of"` // reads, mutations or checks
	Began    time.Time       `json:"began"`
	Attempts int             `json:"attempts"` // that failed
	Retries  int             `json:"retries"`  // rounds of retries that failed
	First    *Fault          `json:"first"`
	Last     *Fault          `json:"last"`
	Spent    bool            `json:"spent"`        // the budget is used up
	Left     driver.Duration `json:"left"`         // until it is, at the latest
	Rounds   int             `json:"retries_left"` // until it is, at the latest
	Slow     bool            `json:"slow"`         // the link answers, but not within the latency budget
}

// LinkState says where a link stands.
type LinkState string

// The states of a link.
const (
	LinkActive    LinkState = "active"
	LinkInSync    LinkState = "in sync"     // it holds everything acknowledged
	LinkOutOfStep LinkState = "out of step" // it serves, and has to be brought up to date
	LinkResyncing LinkState = "resyncing"   // this host brings it up to date
	LinkIsLost    LinkState = "lost"        // it has lost data, and has to be brought up to date
	LinkIsDown    LinkState = "down"        // it is out of step, and its status checks fail
)

// LinkStatus is one link as this host sees it.
type LinkStatus struct {
	Name string `json:"name"`
	// What the driver says that its store is; empty until it has: see
	// Config.StartDegraded.
	Driver     string        `json:"driver"`
	Version    string        `json:"version"`
	Protection string        `json:"protection"`
	State      LinkState     `json:"state"`
	Check      CheckStatus   `json:"check"`
	Evidence   *Fault        `json:"evidence,omitempty"` // its last failure, of any call; it may be over
	Lost       *Fault        `json:"lost,omitempty"`     // why its data is not trusted
	Epoch      string        `json:"epoch,omitempty"`    // what it was last known to hold, as number.version
	Resync     *ResyncStatus `json:"resync,omitempty"`   // that this host is at
	HoldDown   *HoldStatus   `json:"hold_down,omitempty"`
	Lag        *LagStatus    `json:"lag,omitempty"` // of a standby that is in sync
}

// CheckStatus is what the latest status checks of a link have found.
type CheckStatus struct {
	At         time.Time        `json:"at,omitzero"` // zero: none has ended yet
	Took       driver.Duration  `json:"took"`
	Err        *Fault           `json:"error,omitempty"`
	Fails      int              `json:"fails"` // in a row
	Rises      int              `json:"rises"` // in a row that found it fit to serve
	Role       string           `json:"role,omitempty"`
	Generation string           `json:"generation,omitempty"`
	Durability string           `json:"durability,omitempty"`
	Problems   []driver.Problem `json:"problems,omitempty"`
	Warnings   []driver.Problem `json:"warnings,omitempty"`
	Records    int64            `json:"records"`     // -1: not known
	UsedBytes  int64            `json:"used_bytes"`  // of the resource that fills first; -1: not known
	LimitBytes int64            `json:"limit_bytes"` // its size; -1: not known or none
}

// Status returns the state of the chain as this host sees it. It asks no store,
// so it answers at once whatever state the stores are in.
func (c *Chain) Status() Overview {
	v, p := c.view.Load(), c.policy()
	o := Overview{
		Chain: c.config.Name, Host: c.config.Host, At: now(), Epoch: epochStatus(v.epoch),
		Protected: len(v.standbys) > 0, Unmirrored: c.owed.open(), InFlight: int(c.inFlight.Load()),
		Incidents: v.active.health.incidents(p), Transitions: c.events.history.all(),
	}
	if f := c.frozen.Load(); f != nil {
		o.Frozen = &Freezing{f.At, f.Reason}
	}
	o.Condition = c.condition(v, o.Incidents)
	for _, l := range c.links {
		o.Links = append(o.Links, c.linkStatus(v, l))
	}
	return o
}

func epochStatus(e driver.Epoch) EpochStatus {
	return EpochStatus{e.Number, e.Version, e.Active, e.State.String(), append([]string{}, e.InSync...)}
}

func (c *Chain) condition(v *view, incidents []IncidentStatus) Condition {
	spent := slices.ContainsFunc(incidents, func(i IncidentStatus) bool { return i.Spent && !i.Slow })
	switch {
	case c.down.Load() || v.epoch.Number == 0 || spent && c.isFrozen():
		return Down
	case c.switchOver() != nil || spent:
		return FailsOver
	case !c.protected(v):
		return WaitsInSync
	case v.epoch.State == driver.Handover:
		return HandsOver
	case len(incidents) > 0 || !v.trusted():
		return Fails
	}
	return Serves
}

func (c *Chain) linkStatus(v *view, l *link) LinkStatus {
	check := l.checked()
	s := LinkStatus{
		Name: l.name, Driver: l.about().Driver, Version: l.about().Version,
		Evidence: faultOf(l.evidence()), Lost: faultOf(l.distrusted()),
		Check: CheckStatus{At: check.At, Took: driver.Duration(check.Took), Err: faultOf(check.Err), Fails: check.Fails, Rises: check.Rises,
			Role: check.Probe.Role, Generation: check.Probe.Generation, Durability: check.Probe.Durability,
			Problems: check.Probe.Problems, Warnings: check.Probe.Warnings,
			Records: check.Probe.Records, UsedBytes: check.Probe.UsedBytes, LimitBytes: check.Probe.LimitBytes},
	}
	if l.described() {
		s.Protection = l.about().Protection.String()
	}
	if check.Probed.IsZero() {
		s.Check.Records, s.Check.UsedBytes, s.Check.LimitBytes = -1, -1, -1
	}
	if held := l.holding(); held.Number > 0 {
		s.Epoch = fmt.Sprintf("%d.%d", held.Number, held.Version)
	}
	resync, hold := c.events.ways.of(l.name)
	switch {
	case l == v.active:
		s.State = LinkActive
	case v.holds(l):
		s.State, s.HoldDown, s.Lag = LinkInSync, hold, l.backlog.status()
	case resync != nil && !c.isFrozen():
		s.State, s.Resync = LinkResyncing, resync
	case s.Lost != nil:
		s.State = LinkIsLost
	case check.Fails > 0 || check.At.IsZero():
		s.State = LinkIsDown
	default:
		s.State = LinkOutOfStep
	}
	return s
}

// incidents returns the rows of failures that are open.
func (h *health) incidents(p *Policy) []IncidentStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []IncidentStatus{}
	for _, one := range [...]struct {
		of     string
		i      *incident
		rounds int
	}{{"reads", &h.reads, p.Retries}, {"mutations", &h.mutating, p.Retries}, {"checks", &h.checks, p.Check.Fall - 1}} {
		i := one.i
		over := i == &h.checks && !i.slow && h.served.After(i.latest) // calls know better
		if !i.open() || over || i.past(p, time.Now()) {
			continue
		}
		left := time.Until(i.began.Add(p.Timeout))
		all = append(all, IncidentStatus{Of: one.of, Began: i.began, Attempts: i.attempts, Retries: i.retries,
			First: faultOf(i.first), Last: faultOf(i.last), Spent: i.spent,
			Left: driver.Duration(max(left, 0)), Rounds: max(one.rounds-i.retries, 0), Slow: i.slow})
	}
	return all
}
