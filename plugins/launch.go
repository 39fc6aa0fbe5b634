// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/driver"
)

// Launch starts a plugin and opens its store. ctx bounds the start only; the
// store lives, and its plugin is started anew whenever need be, until it is
// closed. Whoever launches a plugin must close the store.
//
// Errors: [driver.Invalid] or [driver.Unsupported] when trying again is of no use:
// a binary that is missing, refused, not a plugin or of another version, or what
// the driver says of its configuration; [driver.Unavailable] when the plugin did
// not start for a reason that may pass, unless Spec.Patient.
func Launch(ctx context.Context, spec Spec) (*Store, error) {
	return launch(ctx, spec, defaultRestarts)
}

func launch(ctx context.Context, spec Spec, policy restartPolicy) (*Store, error) {
	limit := spec.firstStart(ctx)
	spec, err := spec.complete()
	if err != nil {
		return nil, driver.In(err, spec.Link, opLaunch)
	}
	sockets, err := newSocketDir()
	if err != nil {
		return nil, driver.In(refused("%w", err), spec.Link, opLaunch)
	}
	s := &Store{
		spec:    spec,
		sockets: sockets,
		policy:  policy,
		done:    make(chan struct{}),
		look:    make(chan struct{}, 1),
		changed: make(chan struct{}),
		status:  Status{State: Starting, Since: time.Now()},
	}
	s.life, s.end = context.WithCancel(context.Background())
	open.Store(s, nil)
	first := make(chan error, 1)
	go s.supervise(first, limit)
	select {
	case err = <-first:
		if err == nil || !s.hopeless(err) {
			return s, nil
		}
		<-s.done
	case <-ctx.Done():
		s.startClosing()
		s.end()
		wait(s.done, closeGrace)
		err = driver.ContextError(ctx, false)
		select {
		case why := <-first:
			if why != nil {
				err = failed("%w: %w", context.Cause(ctx), why)
			}
		default: // it holds on to the start
		}
	}
	return nil, driver.In(err, spec.Link, opLaunch)
}

const opLaunch = "launch"

// open has all stores that were launched and not closed.
var open sync.Map

// CloseAll closes every store that this process has launched and not closed yet,
// within ctx: for programs that are about to end. Their plugins do not outlive
// them in any case; this lets them end in order.
func CloseAll(ctx context.Context) error {
	var closing sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for s := range open.Range {
		closing.Go(func() {
			err := s.(*Store).Close(ctx) //nolint:errcheck,forcetypeassert // nothing else is in open
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	closing.Wait()
	return errors.Join(errs...)
}

// Validate starts the plugin only to check spec.Config, and ends it: nil, or what
// the driver says, or why the plugin could not be started.
func Validate(ctx context.Context, spec Spec) error {
	limit := spec.firstStart(ctx)
	spec, err := spec.complete()
	if err != nil {
		return driver.In(err, spec.Link, opLaunch)
	}
	sockets, err := newSocketDir()
	if err != nil {
		return driver.In(refused("%w", err), spec.Link, opLaunch)
	}
	defer func() { _ = sockets.remove() }() // the next launch removes what is left
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	i, err := startInstance(ctx, &spec, sockets.path)
	if err != nil {
		return driver.In(err, spec.Link, opLaunch)
	}
	defer i.stop(spec.StopTimeout)
	return i.client.Validate(ctx, spec.Config)
}

// hopeless reports whether a store whose first process failed with err is not to
// be returned.
func (s *Store) hopeless(err error) bool { return permanent(err) || !s.spec.Patient }

// supervise keeps a process running until the store is closed. The outcome of the
// first start, which may take as long as limit, goes to first.
func (s *Store) supervise(first chan<- error, limit time.Duration) {
	defer close(s.done)
	defer s.finish()
	pauses := restarts{policy: s.policy}
	for n := 0; ; n++ {
		i, err := s.start(limit)
		limit = s.spec.StartTimeout
		if err == nil {
			s.set(Status{State: Running, PID: i.process.number(), Restarts: n}, i)
		}
		if n == 0 {
			first <- err
			if err != nil && s.hopeless(err) {
				return
			}
		}
		var lived time.Duration
		if err == nil {
			s.spec.Logger.Info("plugin started", zap.Int("pid", i.process.number()), zap.Duration("took", time.Since(i.started)), zap.Int("restarts", n))
			serving := time.Now()
			err = s.watch(i)
			lived = time.Since(serving)
		}
		if s.life.Err() != nil {
			if i != nil {
				i.stop(s.spec.StopTimeout)
			}
			return
		}
		if i != nil {
			i.disconnect()
		}
		pause, loop := pauses.ended(time.Now(), lived)
		next := time.After(pause)
		s.report(n, err, pause, loop)
		if i != nil {
			i.stop(0)
		}
		select {
		case <-s.life.Done():
			return
		case <-next:
		}
	}
}

// start starts a process and opens the store, within limit.
func (s *Store) start(limit time.Duration) (*instance, error) {
	ctx, cancel := context.WithTimeout(s.life, limit)
	defer cancel()
	i, err := startInstance(ctx, &s.spec, s.sockets.path)
	if err != nil {
		return nil, err
	}
	if err := i.open(ctx, &s.spec); err != nil {
		i.stop(0)
		return nil, err
	}
	return i, nil
}

// watch returns when the process has ended, no longer answers, or is to end: nil
// in the last case.
func (s *Store) watch(i *instance) error {
	ticker := time.NewTicker(s.spec.PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-i.process.exited:
			return failed("the plugin's process ended: %s", i.process.fate())
		case <-s.life.Done():
			return nil
		case <-ticker.C:
		case <-s.look:
		}
		err := i.ping(s.life, s.spec.PingTimeout)
		if err == nil {
			continue
		}
		select {
		case <-i.process.exited: // which says more
		case <-s.life.Done():
		default:
			return failed("the plugin's process does not answer: %w", err)
		}
	}
}

// report makes known that there is no process, why, and when there will be one.
func (s *Store) report(n int, err error, pause time.Duration, loop bool) {
	status := Status{State: Restarting, Restarts: n, Err: err, Retry: time.Now().Add(pause)}
	fields := []zap.Field{zap.Error(err), zap.Int("restarts", n), zap.Duration("next", pause)}
	if loop {
		status.State = Failed
		s.spec.Logger.Error("plugin failed too often, restarting slowly", fields...)
	} else {
		s.spec.Logger.Warn("plugin lost, restarting", fields...)
	}
	s.set(status, nil)
}

// set makes a new status known, with the process that serves in it.
func (s *Store) set(status Status, serving *instance) {
	status.Since = time.Now()
	s.mu.Lock()
	s.status = status
	s.current.Store(serving)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.spec.OnStatus != nil {
		s.spec.OnStatus(status)
	}
}

// finish lets go of what is left.
func (s *Store) finish() {
	open.Delete(s)
	s.set(Status{State: Closed}, nil)
	if err := s.sockets.remove(); err != nil {
		s.spec.Logger.Warn("remove the folder of the plugin's sockets", zap.Error(err))
	}
}
