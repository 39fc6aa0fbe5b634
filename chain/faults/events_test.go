// SPDX-License-Identifier: Apache-2.0

//go:build faults

package faults

import (
	"errors"
	"testing"
	"time"
)

// lasts waits for a time: the length of a fault, or what comes of it.
func lasts(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// happens waits for an event of a type, at from or later, and returns it.
func (w *world) happens(t testing.TB, event string, from time.Time) entry {
	t.Helper()
	var found entry
	awaitEvery(t, 10*time.Millisecond, event, func() error {
		for _, h := range w.hosts {
			for _, e := range h.entries(t) {
				if e.Tell == happened && e.Event == event && !e.At.Before(from) {
					found = e
					return nil
				}
			}
		}
		return errors.New("no host has told of it")
	})
	return found
}
