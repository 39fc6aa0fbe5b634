// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Golden is the file format of a record.
type Golden struct {
	Format int      `json:"format"`
	Cases  []Result `json:"cases"`
}

// format is the only value of Golden.Format.
const format = 1

// save writes a file whole or not at all.
func save(path string, v any) error {
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := errors.Join(e.Encode(v), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".tmp", path)
}

// selected are the cases that the configuration chooses.
func selected(cfg *Config) ([]Case, error) {
	var chosen []Case
	for _, c := range cases {
		if n := c.id(); cfg.only.MatchString(n) && (cfg.skip == nil || !cfg.skip.MatchString(n)) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("no case is chosen: see list for their names")
	}
	return chosen, nil
}

// recorder runs cases and gathers their results in the order of the cases.
type recorder struct {
	cfg    *Config
	chosen []Case
	out    string // file to save the record so far in, every second; empty: none
	log    io.Writer

	mu      sync.Mutex
	results []*Result
	saved   time.Time
}

// record runs the selected cases, those about the whole log last and one at a time.
func record(ctx context.Context, cfg *Config, out string, log io.Writer) (Golden, error) {
	chosen, err := selected(cfg)
	if err != nil {
		return Golden{}, err
	}
	r := &recorder{cfg: cfg, chosen: chosen, out: out, log: log, results: make([]*Result, len(chosen))}
	var running sync.WaitGroup
	slots := make(chan struct{}, max(cfg.Parallel, 1))
	for i, c := range chosen {
		if c.Serial {
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			r.run(ctx, i)
			<-slots
		})
	}
	running.Wait()
	for i, c := range chosen {
		if c.Serial {
			r.run(ctx, i)
		}
	}
	if n := unreached.Load(); n > 0 {
		fmt.Fprintf(log, "WARNING: %d cases did not run because the server did not answer\n", n)
	}
	return r.golden(), ctx.Err()
}

func (r *recorder) run(ctx context.Context, i int) {
	began := time.Now()
	result := runCase(ctx, r.cfg, r.chosen[i])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[i] = &result
	if r.cfg.Verbose {
		fmt.Fprintf(r.log, "%6.2fs  %s\n", time.Since(began).Seconds(), r.chosen[i].id())
	}
	if r.out != "" && time.Since(r.saved) > time.Second {
		r.saved = time.Now()
		if err := save(r.out, r.golden()); err != nil {
			fmt.Fprintln(r.log, "WARNING:", err)
		}
	}
}

// golden is the record so far.
func (r *recorder) golden() Golden {
	g := Golden{Format: format, Cases: []Result{}}
	for _, result := range r.results {
		if result != nil {
			g.Cases = append(g.Cases, *result)
		}
	}
	return g
}
