// SPDX-License-Identifier: Apache-2.0

package journal

import "time"

// Clock is the time of a machine. It decides what is due and when expiry is
// looked for, never which of two transitions wins.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f, in a goroutine of its own or the clock's, once d has passed
	// on this clock. The result stops that, like time.Timer.Stop.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// SystemClock is the time of the machine it runs on.
type SystemClock struct{}

// Now implements [Clock].
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc implements [Clock].
func (SystemClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}
