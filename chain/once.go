// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Verifier finds out, outside, whether the effect with the key has happened, and
// if so its result. An error means that it could not find out.
type Verifier func(ctx context.Context, key string) (happened bool, result []byte, err error)

// ErrUnresolved is in the error of [Handle.Once] when the workflow has been
// parked, since it is not known whether an effect happened and nothing can
// verify it.
var ErrUnresolved = errors.New("it is not known whether the effect happened")

// notDone marks an error of an effect that certainly did not happen.
type notDone struct{ error }

func (n notDone) Unwrap() error { return n.error }

// NotDone returns err so marked that [Handle.Once] knows: the effect certainly
// did not happen. It returns nil for nil.
func NotDone(err error) error {
	if err == nil {
		return nil
	}
	return notDone{err}
}

// Once does an effect outside the store, such as handing a contact to a dialer,
// and returns its result. The intent is recorded before fn is called and the
// result after it, both in the record of the workflow, mirrored like a save point
// but without being one: step, state and attempt stay. An effect whose result is
// recorded is not done again: Once returns that result, in every later attempt,
// on every host, over failovers and after [Chain.Requeue].
//
// fn gets a key that is the same whenever the effect is begun again:
// [Handle.IdempotencyKey] of the name. Whoever is called should refuse a second
// effect of one key, and be able to tell of one.
//
// When the worker dies between the two records, or fn returns an error other
// than [NotDone], nobody knows whether the effect happened. The next call of Once
// with the name then asks verify: if it happened, its result is recorded; if not,
// fn is called; an error of verify is returned, and the next attempt asks again.
// Where an effect may arrive late, verify has to wait that out. If verify is nil,
// the workflow waits for an operator: its status is Waiting and its failure says
// why, ctx of the handler ends, the error wraps [ErrUnresolved], and
// [Chain.Resolve] brings it back. No effect is ever repeated on a guess.
//
// The name, 1–256 bytes, is unique in the workflow. Each effect takes about 100
// bytes of the record, and its result, at most [MaxEffectResult] bytes, a third
// more than its length, until the workflow has succeeded.
//
// Errors: those of fn and verify, wrapped; driver.LeaseLost; driver.Invalid;
// driver.TooLarge if the record has no room for the effect (then fn has not been
// called) or the result is too large (then the effect is open);
// driver.Unavailable and driver.Unknown when ctx ended first.
func (h *Handle) Once(ctx context.Context, name string, fn func(ctx context.Context, key string) ([]byte, error), verify Verifier) ([]byte, error) {
	result, err := h.once(ctx, name, fn, verify)
	if err != nil {
		return nil, fmt.Errorf("effect %q of %q: %w", name, h.ID(), err)
	}
	return result, nil
}

func (h *Handle) once(ctx context.Context, name string, fn func(ctx context.Context, key string) ([]byte, error), verify Verifier) ([]byte, error) {
	if name == "" || len(name) > driver.MaxStepBytes || !utf8.ValidString(name) {
		return nil, &driver.Error{Class: driver.Invalid, Detail: fmt.Sprintf("the name has %d bytes: want 1–%d of UTF-8", len(name), driver.MaxStepBytes)}
	}
	if fn == nil {
		return nil, missing("fn")
	}
	if !h.enter(name) {
		return nil, &driver.Error{Class: driver.Invalid, Detail: "it is under way in another goroutine of this handler"}
	}
	defer h.leave(name)
	r := h.snapshot()
	log, err := effectsOf(&r)
	if err != nil {
		return nil, err
	}
	key, known := h.IdempotencyKey(name), log.find(name)
	switch {
	case known != nil && known.State == EffectDone:
		return bytes.Clone(known.Result), nil
	case known != nil && known.State == EffectOpen && verify == nil:
		return nil, h.park(ctx, known, key)
	case known != nil && known.State == EffectOpen:
		happened, result, err := verify(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("verify whether it happened: %w", err)
		}
		if happened {
			return h.conclude(ctx, name, result)
		}
	}
	if err := h.note(ctx, loggedEffect{Name: name, State: EffectOpen}); err != nil {
		return nil, fmt.Errorf("record the intent: %w", err)
	}
	if err := h.mayAct(ctx); err != nil {
		return nil, err
	}
	result, err := fn(ctx, key)
	if err == nil {
		return h.conclude(ctx, name, result)
	}
	if _, did := errors.AsType[notDone](err); did {
		if failed := h.note(ctx, loggedEffect{Name: name, State: EffectNotDone}); failed != nil {
			err = fmt.Errorf("%w (and that it did not happen could not be recorded: %w)", err, failed)
		}
	}
	return nil, err
}

// conclude records the result of an effect that has happened.
func (h *Handle) conclude(ctx context.Context, name string, result []byte) ([]byte, error) {
	if err := checkResult(name, result); err != nil {
		return nil, err
	}
	if err := h.note(ctx, loggedEffect{Name: name, State: EffectDone, Result: bytes.Clone(result)}); err != nil {
		return nil, fmt.Errorf("it happened, but its result could not be recorded: %w", err)
	}
	return result, nil
}

// note puts what is known of an effect into the record, and extends the lease.
func (h *Handle) note(ctx context.Context, e loggedEffect) error {
	return h.apply(ctx, driver.VerbExtend, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		log, err := effectsOf(&r)
		if err != nil {
			return driver.Transition{}, err
		}
		e.Begun = driver.Millis(s.Now)
		if before := log.find(e.Name); before != nil && e.State != EffectOpen {
			e.Begun = before.Begun
		}
		return sparing(r, func(r driver.Record) (driver.Transition, error) {
			if r, err = log.with(r, e); err != nil {
				return driver.Transition{}, err
			}
			return driver.Extend(s, r, h.leaseFrom(s))
		})
	})
}

// mayAct reports why the handler must not act any more. It matters after a
// pause of the whole process, when the context has not been ended yet.
func (h *Handle) mayAct(ctx context.Context) error {
	if ctx.Err() != nil {
		return &driver.Error{Class: driver.Unavailable, Cause: context.Cause(ctx), Detail: "not begun"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released || !time.Now().Before(h.end()) {
		return &driver.Error{Class: driver.LeaseLost, Detail: "not begun: the lease is over"}
	}
	return nil
}

// park makes the workflow wait for an operator.
func (h *Handle) park(ctx context.Context, e *loggedEffect, key string) error {
	why := fmt.Sprintf("effect %q was begun at %s, and it is not known whether it happened: find out by its key, %s, and resolve it",
		e.Name, e.Begun.UTC().Format(time.RFC3339), key)
	err := h.apply(ctx, driver.VerbWait, func(s driver.Stamp, r driver.Record) (driver.Transition, error) {
		r.Failure = fitted(r, why)
		return driver.Wait(s, r, r.Step, r.State, time.Time{})
	})
	if err != nil {
		return fmt.Errorf("park the workflow: %w", err)
	}
	r := h.snapshot()
	h.c.log.Error("workflow waits for an operator", zap.String("id", r.ID), zap.String("kind", r.Kind), zap.String("effect", e.Name),
		zap.String("key", key), zap.Time("begun", e.Begun))
	h.c.events.emit(EffectUnresolved{At: now(), ID: r.ID, Kind: r.Kind, Effect: e.Name, Key: key, Begun: e.Begun})
	h.lose(ErrUnresolved)
	return ErrUnresolved
}

// enter marks an effect as under way in this handler; false if it is already.
func (h *Handle) enter(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.acting[name] {
		return false
	}
	if h.acting == nil {
		h.acting = map[string]bool{}
	}
	h.acting[name] = true
	return true
}

func (h *Handle) leave(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.acting, name)
}
