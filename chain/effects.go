// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// EffectState says what is known of an effect outside the store.
type EffectState string

// The states of an effect.
const (
	EffectOpen    EffectState = "open"     // begun; it may have happened
	EffectDone    EffectState = "done"     // it happened, and its result is recorded
	EffectNotDone EffectState = "not done" // it certainly did not happen; it may be begun again
)

// Effect is one entry of the log of effects that [Handle.Once] keeps with a
// workflow.
type Effect struct {
	Name   string
	Key    string // the idempotency key that the outside got: [Handle.IdempotencyKey] of the name
	State  EffectState
	Begun  time.Time // when the intent was last recorded, by the clock of the store
	Result []byte    // of an effect that is done
}

// MaxEffectResult is the most bytes that the result of an effect may have. That
// much is kept free in the record before the effect begins, so that a result
// never finds the record full.
const MaxEffectResult = 4096

// effectLog is what the chain keeps, as JSON, in the output of a workflow that
// has not succeeded. Neither the state nor anything else of the application's is
// touched: an output of its own a workflow has only once it has succeeded, and
// then it needs the log no more.
type effectLog struct {
	Effects []loggedEffect `json:"effects"`
}

type loggedEffect struct {
	Name   string      `json:"name"`
	State  EffectState `json:"state"`
	Begun  time.Time   `json:"begun"`
	Result []byte      `json:"result,omitempty"`
}

// resultRoom is what a result of MaxEffectResult bytes takes in the log.
const resultRoom = (MaxEffectResult+2)/3*4 + len(`,"result":""`)

func effectsOf(r *Record) (effectLog, error) {
	var log effectLog
	if r.Status == driver.Succeeded || len(r.Output) == 0 {
		return log, nil
	}
	if err := json.Unmarshal(r.Output, &log); err != nil {
		return log, &driver.Error{Class: driver.Internal, Op: "read effects", IDs: []string{r.ID}, Cause: err,
			Detail: "the workflow has not succeeded, and yet its output is not a log of effects: was it written by another program?"}
	}
	return log, nil
}

func (l *effectLog) find(name string) *loggedEffect {
	i := slices.IndexFunc(l.Effects, func(e loggedEffect) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return &l.Effects[i]
}

// with returns r with the effect in its log.
func (l effectLog) with(r Record, e loggedEffect) (Record, error) {
	effects := slices.Clone(l.Effects)
	if i := slices.IndexFunc(effects, func(x loggedEffect) bool { return x.Name == e.Name }); i >= 0 {
		effects[i] = e
	} else {
		effects = append(effects, e)
	}
	text, err := json.Marshal(effectLog{effects})
	if err != nil {
		return r, fmt.Errorf("write the log of effects: %w", err)
	}
	r.Output = text
	if size := unleased(r) + leaseRoom; e.State == EffectOpen && size+resultRoom > driver.MaxRecordBytes {
		return r, &driver.Error{Class: driver.TooLarge, IDs: []string{r.ID}, Detail: fmt.Sprintf(
			"the record has %d bytes with its lease: with the result of the effect it could be over the limit of %d", size, driver.MaxRecordBytes)}
	}
	return r, nil
}

// shown returns r as applications see it: without what the chain keeps in it.
func shown(r Record) Record {
	if r.Status != driver.Succeeded {
		r.Output = nil
	}
	return r
}

// shownIn is shown for the record that err carries.
func shownIn(err error) error {
	e, ok := errors.AsType[*driver.Error](err)
	if !ok || e.Stored == nil {
		return err
	}
	outer, stored := *e, shown(*e.Stored)
	outer.Stored = &stored
	return &outer
}

// Effects returns what is known of the effects of a workflow, in the order in
// which they were first begun; none once it has succeeded. An operator sees in it
// why a workflow waits, and by its key what to look for outside.
//
// Errors as of [Chain.Get].
func (c *Chain) Effects(ctx context.Context, id string) ([]Effect, error) {
	r, err := c.get(ctx, id)
	if err != nil {
		return nil, err
	}
	log, err := effectsOf(&r)
	if err != nil {
		return nil, driver.In(err, c.config.Name, "read effects", id)
	}
	effects := make([]Effect, len(log.Effects))
	for i, e := range log.Effects {
		effects[i] = Effect{Name: e.Name, Key: c.idempotencyKey(&r, e.Name), State: e.State, Begun: e.Begun, Result: e.Result}
	}
	return effects, nil
}

// Resolve is the decision of an operator on an effect of which it is not known
// whether it happened: it did, with the result, or it did not. It brings the
// workflow back, as [Chain.Requeue] does: [Handle.Once] then returns the result,
// or begins the effect anew under the same key. A decision that stands already
// changes nothing. [Chain.Requeue] without it decides nothing: the workflow waits
// again, unless its handler now has a verifier.
//
// Errors: driver.NotFound if there is no such workflow or effect; driver.Conflict
// with the stored record if the workflow does not wait, and has not failed or been
// cancelled, or if the effect is not open; driver.TooLarge for a result above
// [MaxEffectResult]; driver.Unavailable and driver.Unknown as of [Chain.Cancel].
func (c *Chain) Resolve(ctx context.Context, id, name string, happened bool, result []byte) (Record, error) {
	decided := loggedEffect{Name: name, State: EffectNotDone}
	if happened {
		decided.State, decided.Result = EffectDone, bytes.Clone(result)
	}
	if err := checkResult(name, decided.Result); err != nil {
		return Record{}, driver.In(err, c.config.Name, "resolve", id)
	}
	stands := func(r Record) bool {
		log, err := effectsOf(&r)
		e := log.find(name)
		return err == nil && e != nil && e.State == decided.State && bytes.Equal(e.Result, decided.Result)
	}
	return c.change(ctx, driver.VerbRequeue, id, stands, func(s driver.Stamp, r Record) (driver.Transition, error) {
		log, err := effectsOf(&r)
		if err != nil {
			return driver.Transition{}, err
		}
		e := log.find(name)
		switch {
		case e == nil:
			return driver.Transition{}, &driver.Error{Class: driver.NotFound, Detail: fmt.Sprintf("the workflow has begun no effect %q", name)}
		case e.State != EffectOpen:
			stored := shown(r)
			return driver.Transition{}, &driver.Error{Class: driver.Conflict, Stored: &stored, Detail: fmt.Sprintf("the effect %q is %s", name, e.State)}
		}
		decided.Begun, r.Failure = e.Begun, ""
		if r, err = log.with(r, decided); err != nil {
			return driver.Transition{}, err
		}
		return driver.Requeue(s, r, s.Now)
	})
}

func checkResult(name string, result []byte) error {
	if len(result) <= MaxEffectResult {
		return nil
	}
	return &driver.Error{Class: driver.TooLarge, Detail: fmt.Sprintf(
		"the result of the effect %q has %d bytes: the limit is %d", name, len(result), MaxEffectResult)}
}
