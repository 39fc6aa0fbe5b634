// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// story is what happens while the calls come in.
func (d *demo) story(ctx context.Context) error {
	d.began = time.Now()
	d.say("%d calls come in within %s; chain %s → %s; %d hosts with %d workers each", d.expected.Lines, d.config.Intake,
		redisLink, eventStoreLink, hostCount, d.config.Workers)
	for n := range hostCount {
		stopAfter := 0
		if n == 1 { // when a third of the calls is archived
			stopAfter = d.expected.Archived / (3 * hostCount)
		}
		if err := d.startHost(fmt.Sprintf("host-%d", n+1), n, stopAfter); err != nil {
			return err
		}
	}
	if err := d.whole(ctx); err != nil {
		return err
	}
	d.say("%s is active and %s in step", redisLink, eventStoreLink)
	for _, act := range []func(context.Context) error{d.killRedis, d.killHost, d.killPlugin, d.freezeRedis} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killRedis kills Redis when a tenth of the calls is archived, and lets it come back empty.
func (d *demo) killRedis(ctx context.Context) error {
	n, err := d.archived(ctx, d.expected.Archived/10)
	if err != nil {
		return err
	}
	d.say("%d calls archived: SIGKILL to Redis (pid %d)", n, d.redis.cmd.Process.Pid)
	d.redis.kill()
	if err := d.failedOver(ctx); err != nil {
		return err
	}
	if err := d.wait(ctx, time.Second); err != nil {
		return err
	}
	if err := d.redis.start(ctx); err != nil {
		return err
	}
	d.say("Redis comes back, empty (pid %d)", d.redis.cmd.Process.Pid)
	return d.failedBack(ctx)
}

// killHost kills a host when one of its calls stands still in the middle of a step, and starts another in its place.
func (d *demo) killHost(ctx context.Context) error {
	victim := d.hosts[1]
	for {
		select {
		case point := <-victim.stopped:
			d.victim = victim
			victim.kill()
			d.say("SIGKILL to %s (pid %d), one of its calls at %q; host-4 takes its place", victim.name, victim.cmd.Process.Pid, point)
			return d.startHost("host-4", 1, 0)
		default:
			if err := d.wait(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// killPlugin kills a plugin for Redis.
func (d *demo) killPlugin(ctx context.Context) error {
	if err := d.wait(ctx, time.Second); err != nil {
		return err
	}
	pid, err := d.hosts[0].killPlugin(redisPlugin)
	if err != nil {
		return err
	}
	d.say("SIGKILL to the plugin %s of host-1 (pid %d)", redisPlugin, pid)
	return d.wait(ctx, time.Second)
}

// freezeRedis freezes Redis until the chain has left it.
func (d *demo) freezeRedis(ctx context.Context) error {
	d.say("SIGSTOP to Redis (pid %d)", d.redis.cmd.Process.Pid)
	if err := d.redis.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := d.failedOver(ctx); err != nil {
		return err
	}
	if err := d.wait(ctx, time.Second); err != nil {
		return err
	}
	d.say("SIGCONT to Redis")
	if err := d.redis.signal(syscall.SIGCONT); err != nil {
		return err
	}
	return d.failedBack(ctx)
}

// archived waits until so many calls are in the index.
func (d *demo) archived(ctx context.Context, want int) (int, error) {
	for {
		text, err := os.ReadFile(filepath.Join(d.work, indexFile))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if n := bytes.Count(text, []byte("\n")); n >= want {
			return n, nil
		}
		if err := d.wait(ctx, 5*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// latest returns the newest epoch that any host has told, with what it told of it.
func (d *demo) latest() told {
	var latest told
	for _, h := range d.hosts {
		_, events := h.heard()
		for _, e := range events {
			newer := e.Epoch.Number > latest.Epoch.Number || e.Epoch.Number == latest.Epoch.Number && e.Epoch.Version > latest.Epoch.Version
			same := e.Epoch.Number == latest.Epoch.Number && e.Epoch.Version == latest.Epoch.Version
			if newer || same && (e.Failover != nil || e.Failback != nil) {
				latest = e
			}
		}
	}
	return latest
}

// until waits until the newest epoch is as it is wanted.
func (d *demo) until(ctx context.Context, what string, wanted func(*told) bool) (told, error) {
	for {
		if e := d.latest(); wanted(&e) {
			return e, nil
		}
		if err := d.wait(ctx, 10*time.Millisecond); err != nil {
			return told{}, fmt.Errorf("waiting until %s: %w", what, err)
		}
	}
}

// whole waits until Redis is active and Event Store is in step.
func (d *demo) whole(ctx context.Context) error {
	_, err := d.until(ctx, "redis is active and eventstore in step", isWhole)
	return err
}

func isWhole(e *told) bool {
	return e.Epoch.Active == redisLink && e.Epoch.State == driver.Serving && slices.Contains(e.Epoch.InSync, eventStoreLink)
}

// failedOver waits until the chain has left Redis.
func (d *demo) failedOver(ctx context.Context) error {
	e, err := d.until(ctx, "the chain fails over", func(e *told) bool { return e.Failover != nil && e.Epoch.Active == eventStoreLink })
	if err == nil {
		d.say("%s fails over to %s after %s", e.Host, e.Failover.To, span(e.Failover.ElapsedMS))
	}
	return err
}

// failedBack waits until the chain is back on Redis, with Event Store in step.
func (d *demo) failedBack(ctx context.Context) error {
	e, err := d.until(ctx, "the chain fails back", func(e *told) bool { return e.Failback != nil && isWhole(e) })
	if err == nil {
		d.say("%s brought %s into step and fails back to it, with a pause of %s", e.Host, e.Failback.To, span(e.Failback.PauseMS))
	}
	return err
}
