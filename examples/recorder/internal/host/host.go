// SPDX-License-Identifier: Apache-2.0

// Package host is what ties the recorder to the chain: it starts a workflow for each call, and works on workflows by
// doing the job's steps with a save point after each.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
)

// Kind is the kind of the recorder's workflows.
const Kind = "recording"

// Handler works on the workflow of one line of the call-detail file. A call that can never be processed ends its
// workflow as failed, with the reason. saved is told how long each save point took; it may be nil.
func Handler(j *job.Job, saved func(time.Duration)) chain.Handler {
	return func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		var entry job.Entry
		if err := json.Unmarshal(h.Input(), &entry); err != nil {
			return nil, chain.Permanent(fmt.Errorf("the input of %s is no line of a call-detail file: %w", h.ID(), err))
		}
		save := func(ctx context.Context, step string, state []byte) error {
			began := time.Now()
			err := h.Save(ctx, step, state)
			if saved != nil {
				saved(time.Since(began))
			}
			return err
		}
		output, err := j.Run(ctx, entry, h.Step(), h.State(), save)
		if _, rejected := errors.AsType[*job.Rejection](err); rejected {
			return nil, chain.Permanent(err)
		}
		return output, err
	}
}

// Logged returns handler with a warning for each attempt that failed and will be repeated.
func Logged(log *zap.Logger, handler chain.Handler) chain.Handler {
	return func(ctx context.Context, h *chain.Handle) ([]byte, error) {
		output, err := handler(ctx, h)
		if _, rejected := errors.AsType[*job.Rejection](err); err != nil && !rejected && ctx.Err() == nil {
			log.Warn("call not done yet: it is tried again", zap.String("id", h.ID()), zap.String("step", h.Step()),
				zap.Int("attempt", h.Attempt()), zap.Error(err))
		}
		return output, err
	}
}

// WorkOptions returns how to work on calls until none is left. What is no [job.Rejection], such as a full disk, is
// repeated until somebody has mended it: a call that ended as failed is in the set-aside file.
func WorkOptions(workers int) chain.WorkOptions {
	return chain.WorkOptions{Concurrency: workers, Retry: chain.RetryPolicy{MaxAttempts: -1, MaxBackoff: 30 * time.Second}}
}

// Intake reads a call-detail file and starts a workflow for each line.
type Intake struct {
	Chain   *chain.Chain
	Zone    *time.Location
	Callers int           // lines at once; 0: 1
	Pace    time.Duration // from one line to the next; 0: as fast as possible
	Since   time.Time     // when the first line was due; what is overdue is not held back. Zero: now
	// Part of Parts: the lines are dealt out to that many intakes, and this one takes those of one part, the first
	// being 0. Parts 0 and 1: all lines.
	Part, Parts int
	Waited      func(time.Duration) // nil, or told how long each start took
}

// Run starts a workflow for each line, and returns for how many. A second run over the same file starts nothing anew. It
// stops at the first error.
func (in *Intake) Run(ctx context.Context, master io.Reader) (lines int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(in.Callers, 1))
	due, row := in.Since, -1
	if due.IsZero() {
		due = time.Now()
	}
	for entry, err := range job.Entries(master, in.Zone) {
		if err != nil {
			return lines, errors.Join(fmt.Errorf("read the call-detail file: %w", err), group.Wait())
		}
		if ctx.Err() != nil {
			break
		}
		if row++; row%max(in.Parts, 1) != in.Part {
			continue
		}
		wait(ctx, time.Until(due))
		due = due.Add(in.Pace)
		lines++
		group.Go(func() error { return in.start(ctx, &entry) })
	}
	return lines, group.Wait()
}

func (in *Intake) start(ctx context.Context, entry *job.Entry) error {
	input, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode line %d: %w", entry.Line, err)
	}
	began := time.Now()
	_, err = in.Chain.Start(ctx, chain.Workflow{ID: entry.ID(), Kind: Kind, Input: input})
	if in.Waited != nil {
		in.Waited(time.Since(began))
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", entry.Line, err)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Workflows returns all workflows of the recorder. It begins anew when the chain moves to another link meanwhile.
func Workflows(ctx context.Context, c *chain.Chain, statuses ...chain.Status) ([]chain.Record, error) {
	var all []chain.Record
	f := chain.Filter{Kinds: []string{Kind}, Statuses: statuses}
	for {
		page, err := c.List(ctx, f)
		switch {
		case errors.Is(err, driver.CursorLost):
			all, f.Cursor = nil, ""
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, page.Records...)
		if f.Cursor = page.Next; f.Cursor == "" {
			return all, nil
		}
	}
}

// AllDone waits until no workflow is left to be worked on.
func AllDone(ctx context.Context, c *chain.Chain) error {
	for {
		left, err := Workflows(ctx, c, driver.Ready, driver.Leased, driver.Waiting)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		wait(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%d calls are not done, among them %s: %w", len(left), left[0].ID, context.Cause(ctx))
		}
	}
}
