// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// Check runs one case on the driver of h and returns its result. It returns at
// the latest a few seconds after the time of the case is up: then the case's
// stores are closed, and what is still running is left behind and said so.
func Check(ctx context.Context, h Harness, c Case) Result {
	result := Result{Case: c.FullName()}
	if result.Reason = h.excuse(c); result.Reason != "" {
		result.Outcome = Excused
		return result
	}
	began := time.Now()
	failed, output, late := attempt(ctx, h, c, 1)
	for slower := 4; late && slower <= 64; slower *= 4 {
		failed, output, late = attempt(ctx, h, c, slower)
	}
	result.Outcome, result.Output, result.Elapsed = Passed, output, time.Since(began)
	if failed {
		result.Outcome = Failed
		result.Output = fmt.Sprintf("%s does not hold: %s\n%s", c.FullName(), c.Sentence, result.Output)
	}
	return result
}

// attempt runs c with leases that are so many times longer than usual. It is late
// if the machine was too slow for them, so that the case could not be judged.
func attempt(ctx context.Context, h Harness, c Case, longer int) (failed bool, output string, late bool) {
	r := &recorder{name: c.FullName()}
	var stop context.CancelFunc
	r.ctx, stop = context.WithTimeout(ctx, h.timeout())
	defer stop()
	e := newEnv(r, h)
	e.span *= time.Duration(longer)

	over := make(chan struct{})
	go func() {
		defer close(over)
		defer guard(r, "the case")
		c.run(e)
	}()
	select {
	case <-over:
	case <-r.ctx.Done():
		r.Errorf("the time of %s is up", h.timeout())
		e.closeAll(time.Second)
		select {
		case <-over:
		case <-time.After(2 * time.Second):
			r.Errorf("a call is still running after its context was done and the store was closed:\n%s", stacks())
		}
	}
	stop()
	e.closeAll(e.closeTime())
	r.runCleanups()
	failed, output = r.outcome()
	return failed, output, e.late.Load()
}

// recorder is the T of a case. It may be used from any goroutine.
type recorder struct {
	name string
	ctx  context.Context //nolint:containedctx // it is what Context returns

	mu       sync.Mutex
	failed   bool
	output   strings.Builder
	cleanups []func()
}

var _ T = (*recorder)(nil)

func (r *recorder) Name() string             { return r.name }
func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.output, strings.TrimRight(format, "\n")+"\n", args...)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.fail()
}

func (r *recorder) FailNow() {
	r.fail()
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

// outcome returns what was recorded so far: what was left behind may go on.
func (r *recorder) outcome() (failed bool, output string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed, r.output.String()
}

// guard makes a panic a failure of t.
func guard(t T, what string) {
	if p := recover(); p != nil {
		t.Errorf("%s panicked: %v\n%s", what, p, debug.Stack())
	}
}

// runCleanups calls the cleanups, each in a goroutine of its own because it may
// call FailNow.
func (r *recorder) runCleanups() {
	for {
		r.mu.Lock()
		if len(r.cleanups) == 0 {
			r.mu.Unlock()
			return
		}
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		r.mu.Unlock()

		var wg sync.WaitGroup
		wg.Go(func() {
			defer guard(r, "a cleanup")
			last()
		})
		wg.Wait()
	}
}

func stacks() string {
	buf := make([]byte, 64<<10)
	return string(buf[:runtime.Stack(buf, true)])
}

// closeStore closes s within d.
func closeStore(s driver.Store, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.Close(ctx)
}
