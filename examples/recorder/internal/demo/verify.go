// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/examples/recorder/internal/host"
	"github.com/understudy-dev/understudy/examples/recorder/internal/job"
	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// evidence is what stands on the disk and in the store in the end.
type evidence struct {
	entries   []job.Entry // of Master.csv
	index     []job.IndexLine
	setAside  []job.SetAsideLine
	archived  map[string]int          // recordings in the archive, by name without folder
	workflows map[string]chain.Record // in Redis
	standby   map[string]chain.Record // in Event Store
}

// verify lets the hosts finish, and holds what is there against what must be.
func (d *demo) verify(ctx context.Context, r *Report) (err error) {
	check, end, err := d.openCheck(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := d.finish(ctx, check); err != nil {
		return err
	}
	r.addHeard(d.hosts, d.began)
	e, err := d.gather(ctx, check)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	d.compare(e, r)
	return nil
}

// compare notes in r all that is not as it must be.
func (d *demo) compare(e *evidence, r *Report) {
	r.Archived, r.SetAside = len(e.index), map[string]int{}
	r.Started = len(e.workflows)
	for id := range e.workflows {
		if e.workflows[id].Status.Finished() {
			r.Completed++
			continue
		}
		r.LeftBehind++
		r.problem("left behind: %s is %s", id, e.workflows[id].Status)
	}
	for _, line := range e.setAside {
		r.SetAside[string(line.Reason)]++
	}
	d.checkEntries(e, r)
	d.checkSetAside(e, r)
	for i := range e.index {
		d.checkRecording(&e.index[i], r)
	}
	if r.Archived != d.expected.Archived {
		r.problem("%d calls in the index, want %d", r.Archived, d.expected.Archived)
	}
	if len(e.entries) != d.expected.Lines {
		r.problem("%d lines read, want %d", len(e.entries), d.expected.Lines)
	}
	if len(e.workflows) != len(e.entries) {
		r.problem("%d workflows for %d lines", len(e.workflows), len(e.entries))
	}
	checkStores(e, r)
}

// checkStores: both stores hold the same.
func checkStores(e *evidence, r *Report) {
	for id, want := range e.workflows {
		if have, ok := e.standby[id]; !ok {
			r.problem("the workflow of %s is in %s, but not in %s", id, redisLink, eventStoreLink)
		} else if !driver.Equal(&have, &want) {
			r.problem("the workflow of %s is %s in %s, and %s in %s", id, describe(&want), redisLink, describe(&have), eventStoreLink)
		}
	}
	for id := range e.standby {
		if _, ok := e.workflows[id]; !ok {
			r.problem("the workflow of %s is in %s, but not in %s", id, eventStoreLink, redisLink)
		}
	}
}

// describe tells what a transition of a workflow sets.
func describe(r *chain.Record) string {
	return fmt.Sprintf("%s (epoch %d, revision %d, token %s, attempt %d, step %q, updated %s, expires %s)",
		r.Status, r.Epoch, r.Revision, r.Token, r.Attempt, r.Step, r.Updated.Format(time.RFC3339Nano), r.Expires.Format(time.RFC3339Nano))
}

// checkEntries: each line of Master.csv is in the index or set aside, exactly once.
func (d *demo) checkEntries(e *evidence, r *Report) {
	indexed, aside := map[string]int{}, map[string]int{}
	for _, line := range e.index {
		indexed[line.UniqueID]++
	}
	for _, line := range e.setAside {
		aside[line.ID]++
	}
	for i := range e.entries {
		id := e.entries[i].ID()
		files := e.archived[id+".wav"]
		switch n := indexed[id] + aside[id]; {
		case n == 0:
			r.Lost++
			r.problem("lost: line %d, %s", e.entries[i].Line, id)
		case n > 1 || files > 1:
			r.DoneTwice++
			r.problem("done twice: %s: %d times in the index, %d set aside, %d in the archive", id, indexed[id], aside[id], files)
		case files != indexed[id]:
			r.problem("%s: %d times in the index, %d in the archive", id, indexed[id], files)
		}
		want := driver.Succeeded
		if aside[id] > 0 {
			want = driver.Failed
		}
		if status := e.workflows[id].Status; status != want {
			r.problem("the workflow of %s is %s, want %s", id, status, want)
		}
		delete(indexed, id)
		delete(aside, id)
		delete(e.archived, id+".wav")
	}
	for id := range indexed {
		r.problem("in the index, but in no line of Master.csv: %s", id)
	}
	for id := range aside {
		r.problem("set aside, but in no line of Master.csv: %s", id)
	}
	for name := range e.archived {
		r.problem("in the archive, but in no line of Master.csv: %s", name)
	}
}

// checkSetAside: exactly the lines that were spoilt, each for its reason.
func (d *demo) checkSetAside(e *evidence, r *Report) {
	want := map[int]sample.Fault{}
	for _, fault := range d.expected.SetAside {
		want[fault.Line] = fault
	}
	for _, line := range e.setAside {
		fault, ok := want[line.Line]
		switch {
		case !ok:
			r.problem("line %d was set aside (%s: %s), but is in order", line.Line, line.Reason, line.Detail)
		case fault.Reason != line.Reason:
			r.problem("line %d was set aside as %s, want %s", line.Line, line.Reason, fault.Reason)
		}
		delete(want, line.Line)
	}
	for line, fault := range want {
		r.problem("line %d was not set aside: %s", line, fault.Detail)
	}
}

// checkRecording: the archived recording is the original, byte for byte, and as the index says.
func (d *demo) checkRecording(line *job.IndexLine, r *Report) {
	path := filepath.FromSlash(line.Path)
	archived, err1 := sum(filepath.Join(d.work, archiveDir, path))
	original, err2 := sum(filepath.Join(d.config.Data, sample.MonitorDir, path))
	if err := errors.Join(err1, err2); err != nil {
		r.problem("%s: %v", line.UniqueID, err)
		return
	}
	if archived != line.SHA256 || archived != original {
		r.problem("%s: the archived recording is not the original: sha256 %s, the index says %s, the original has %s",
			line.UniqueID, archived, line.SHA256, original)
	}
	if _, err := os.Stat(filepath.Join(d.work, sample.MonitorDir, path)); !errors.Is(err, fs.ErrNotExist) {
		r.problem("%s: archived, and still where the recorder left it", line.UniqueID)
	}
}

func sum(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:]), nil
}

func (d *demo) gather(ctx context.Context, check *chain.Chain) (*evidence, error) {
	e := &evidence{archived: map[string]int{}, workflows: map[string]chain.Record{}}
	master, err := os.Open(filepath.Join(d.work, sample.MasterFile))
	if err != nil {
		return nil, err
	}
	defer master.Close()
	for entry, err := range job.Entries(master, time.UTC) {
		if err != nil {
			return nil, err
		}
		e.entries = append(e.entries, entry)
	}
	if e.index, err = readLines[job.IndexLine](filepath.Join(d.work, indexFile)); err != nil {
		return nil, err
	}
	if e.setAside, err = readLines[job.SetAsideLine](filepath.Join(d.work, setAsideFile)); err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(d.work, archiveDir), func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			e.archived[entry.Name()]++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if e.workflows, err = workflowsOf(ctx, check, redisLink); err != nil {
		return nil, err
	}
	e.standby, err = workflowsOf(ctx, check, eventStoreLink)
	return e, err
}

// workflowsOf makes a link the active one and returns what it holds.
func workflowsOf(ctx context.Context, check *chain.Chain, link string) (map[string]chain.Record, error) {
	if err := check.SwitchTo(ctx, link); err != nil {
		return nil, err
	}
	all, err := host.Workflows(ctx, check)
	byID := map[string]chain.Record{}
	for i := range all {
		byID[all[i].ID] = all[i]
	}
	return byID, err
}

func readLines[T any](path string) ([]T, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []T
	for line := range bytes.Lines(text) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, v)
	}
	return all, nil
}
