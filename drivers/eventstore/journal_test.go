// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestJournalReadsWell(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	s := open(t, calm(server.Addresses()...)).ready()
	input := s.put("call-7").Input
	resp, err := s.Claim(t.Context(), driver.ClaimRequest{Owner: "host-1", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 1, Lease: time.Hour})
	require.NoError(t, err)
	held := resp.Records[0]
	saved, err := driver.Save(driver.Stamp{Token: driver.NewToken(), Now: time.Now(), Lease: held.Lease.Token}, held, "archived", []byte("\x00raw"), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.NoError(t, s.commit(t.Context(), saved))
	other := newStart(t, "call-8", nil)
	merged, err := s.Merge(t.Context(), driver.MergeRequest{Records: []driver.Record{other.Record}})
	require.NoError(t, err)
	require.NoError(t, merged.Verdicts[0].Err)

	events := newOperator(t, server.URL()).events(journalStream)
	var types, workflows []string
	for _, e := range events {
		var m struct {
			ID string `json:"$correlationId"`
		}
		require.NoError(t, json.Unmarshal(e.UserMetadata, &m))
		require.Equal(t, "application/json", e.ContentType)
		types, workflows = append(types, e.EventType), append(workflows, m.ID)
	}
	require.Equal(t, []string{"JournalCreated", "WorkflowStarted", "WorkflowClaimed", "SavePointReached", "MirroredWorkflowStarted"}, types)
	require.Equal(t, []string{"", "call-7", "call-7", "call-7", "call-8"}, workflows)
	var started, save struct {
		Input  map[string]string `json:"input"`
		Step   string            `json:"step"`
		State  *json.RawMessage  `json:"state"`
		Base64 []byte            `json:"stateBase64"`
	}
	require.NoError(t, json.Unmarshal(events[1].Data, &started))
	require.Equal(t, map[string]string{"of": "call-7"}, started.Input)
	require.NoError(t, json.Unmarshal(events[3].Data, &save))
	require.Equal(t, "archived", save.Step)
	require.Nil(t, save.State)
	require.Equal(t, []byte("\x00raw"), save.Base64)
	require.Nil(t, save.Input, "what never changes is not repeated")
	require.Equal(t, input, s.get("call-7").Input, "and is there all the same")
}

// TestJournalTakesFreshIDs: EventStoreDB takes an id that it knows for a repeat.
func TestJournalTakesFreshIDs(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{WriteTimeout: 50 * time.Millisecond})
	s := open(t, calm(server.Addresses()...)).ready()
	require.NoError(t, server.SetFaults(devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost, Every: 3}))
	a := &answers{}
	for i := range 30 {
		a.note(s.one(t.Context(), 2*time.Second, fmt.Sprint("id-", i)))
	}
	require.NoError(t, server.SetFaults(devserver.Faults{}))
	require.NotEmpty(t, a.unknown)
	a.settle(s)
	seen := map[uuid.UUID]bool{}
	for _, e := range newOperator(t, server.URL()).events(journalStream) {
		require.False(t, seen[e.EventID], "id %s twice", e.EventID)
		seen[e.EventID] = true
	}
	require.Greater(t, len(seen), 30)
}

// TestJournalHoldsEventsTwice: a server that has forgotten the ids of events takes
// them once more, as it does after a restart.
func TestJournalHoldsEventsTwice(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	s := open(t, calm(server.Addresses()...)).ready()
	s.put("a")
	resp, err := s.Claim(t.Context(), driver.ClaimRequest{Owner: "host-1", Token: driver.NewToken(), Kinds: []string{"call"}, Limit: 1, Lease: time.Hour})
	require.NoError(t, err)
	held := resp.Records[0]
	done, err := driver.Succeed(driver.Stamp{Token: driver.NewToken(), Now: time.Now(), Lease: held.Lease.Token}, held, []byte("{}"), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.NoError(t, s.commit(t.Context(), done))
	o := newOperator(t, server.URL())
	for range 2 {
		var again []esdb.EventData
		for _, e := range o.events(journalStream) {
			again = append(again, esdb.EventData{EventType: e.EventType, ContentType: esdb.ContentTypeJson, Data: e.Data, Metadata: e.UserMetadata})
		}
		_, err := o.client.AppendToStream(t.Context(), journalStream, esdb.AppendToStreamOptions{}, again...)
		require.NoError(t, err)
	}
	late := open(t, calm(server.Addresses()...)).ready()
	for _, s := range []store{s, late} {
		got := s.get("a")
		require.True(t, driver.Equal(&done.Record, got))
		require.Empty(t, s.probe().Warnings)
	}
	next := s.put("b")
	require.True(t, driver.Equal(&next, late.get("b")))
	at, digest := s.Digest()
	eventually(t, patience, func() error {
		if pos, got := late.Digest(); pos != at || got != digest {
			return fmt.Errorf("%d with %.8s, and %d with %.8s", at, digest, pos, got)
		}
		return nil
	})
}

// TestCommitTimeouts: the server answers Aborted and may have written all the same.
func TestCommitTimeouts(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{WriteTimeout: 50 * time.Millisecond})
	s := open(t, calm(server.Addresses()...)).ready()
	require.NoError(t, server.SetFaults(devserver.Faults{CommitTimeout: devserver.CommitTimeoutWritten}))
	s.put("written") // the journal shows that it was
	require.NoError(t, server.SetFaults(devserver.Faults{CommitTimeout: devserver.CommitTimeoutLost}))
	tr := newStart(t, "lost", nil)
	require.ErrorIs(t, s.commit(t.Context(), tr), driver.Unknown)
	require.NoError(t, server.SetFaults(devserver.Faults{}))
	require.Nil(t, s.get("lost"))
	require.NoError(t, s.commit(t.Context(), tr), "it can be repeated")
}

func TestRetentionOfTheJournalIsRefused(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{`{"$maxCount":5}`, `{"$maxAge":60}`, `{"$tb":100000}`} {
		server := start(t, devserver.Options{})
		o := newOperator(t, server.URL())
		running := open(t, calm(server.Addresses()...)).ready()
		running.put("a")
		o.setMetadata(setting)
		eventually(t, patience, func() error {
			resp, err := running.Probe(t.Context(), driver.ProbeRequest{})
			for _, p := range resp.Problems {
				err = errors.Join(err, errors.New(p.Code+": "+p.Text))
			}
			if err == nil || !containsAny(err.Error(), "$maxCount", "$maxAge", "$tb 100000") {
				return fmt.Errorf("no reason: %w", errors.Join(errors.New("probed"), err))
			}
			return nil
		})
		fresh := open(t, calm(server.Addresses()...))
		eventually(t, patience, func() error {
			if err := fresh.try(limit); !errors.Is(err, driver.Unavailable) || driver.ClassOf(err) != driver.Unavailable {
				return fmt.Errorf("not refused: %w", err)
			} else if detail := err.Error(); !containsAny(detail, "$maxCount", "$maxAge", "$tb 100000") {
				return fmt.Errorf("no reason: %w", err)
			}
			return nil
		})
		o.setMetadata(`{}`)
		eventually(t, patience, func() error { return fresh.try(back) })
		require.NotNil(t, fresh.get("a"))
		require.NotNil(t, running.get("a"))
	}
}

func TestJournalThatWasDeletedIsLost(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	o := newOperator(t, server.URL())
	s := open(t, calm(server.Addresses()...)).ready()
	s.put("a")
	seen := s.probe().Marks
	_, err := o.client.DeleteStream(t.Context(), journalStream, esdb.DeleteStreamOptions{})
	require.NoError(t, err)
	eventually(t, patience, func() error { return s.isLost(seen) })
	require.Nil(t, s.get("a"))
	s.put("b") // it can be used again
	late := open(t, calm(server.Addresses()...)).ready()
	require.NotNil(t, late.get("b"))

	_, err = o.client.TombstoneStream(t.Context(), journalStream, esdb.TombstoneStreamOptions{})
	require.NoError(t, err)
	eventually(t, patience, func() error {
		if err := s.try(limit); err == nil {
			return errors.New("it still serves")
		}
		return nil
	})
	eventually(t, patience, func() error {
		if err := s.try(limit); err == nil || !containsAny(err.Error(), "tombstoned") {
			return fmt.Errorf("no reason: %w", err)
		}
		return nil
	})
}

func TestJournalThatWasTruncatedBySomebodyElse(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	o := newOperator(t, server.URL())
	s := open(t, calm(server.Addresses()...)).ready()
	for i := range 5 {
		s.put(fmt.Sprint("w-", i))
	}
	o.setMetadata(`{"$tb":4}`)
	late := open(t, calm(server.Addresses()...))
	eventually(t, patience, func() error {
		if err := late.try(limit); err == nil || !containsAny(err.Error(), "records are missing") {
			return fmt.Errorf("not noticed: %w", err)
		}
		return nil
	})
	require.NotNil(t, s.get("w-0"), "who knows them goes on")
}

// TestBackupIsLost brings the server back with the data of an earlier day, at the
// same address.
func TestBackupIsLost(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]int{"shorter": 0, "as long": 3, "longer": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := launch(t)
			s := open(t, calm(server.address)).ready()
			s.put("a")
			server.kill()
			backup := t.TempDir()
			require.NoError(t, os.CopyFS(backup, os.DirFS(server.data)))
			server.start()
			eventually(t, patience, func() error { return s.try(back) })
			for i := range 3 {
				s.put(fmt.Sprint("later-", i))
			}
			seen := s.probe().Marks
			server.kill()
			server.data = backup
			other := launchOn(t, filepath.Clean(backup))
			for i := range after { // others went on from the backup
				open(t, calm(other.address)).ready().put(fmt.Sprint("other-", i))
			}
			other.kill()
			server.start()
			eventually(t, patience, func() error { return s.isLost(seen) })
			eventually(t, patience, func() error { return s.try(back) })
			require.NotNil(t, s.get("a"))
			require.Nil(t, s.get("later-0"))
		})
	}
}

func TestForeignEventsDoNoHarm(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	o := newOperator(t, server.URL())
	s := open(t, calm(server.Addresses()...)).ready()
	s.put("a")
	o.append(journalStream, "Greeting", `{"hello":"world"}`)
	o.append(journalStream, "Greeting", `no JSON`)
	s.put("b")
	late := open(t, calm(server.Addresses()...)).ready()
	for _, s := range []store{s, late} {
		require.NotNil(t, s.get("a"))
		require.NotNil(t, s.get("b"))
		warnings := s.probe().Warnings
		require.Len(t, warnings, 1)
		require.Equal(t, "foreign-events", warnings[0].Code)
	}
}

func TestReplayReportsProgress(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	s := open(t, calm(server.Addresses()...)).ready()
	var ts []driver.Transition
	for i := range driver.MaxBatch {
		ts = append(ts, newStart(t, fmt.Sprint("w-", i), make([]byte, 4000)))
	}
	_, err := s.Commit(t.Context(), driver.CommitRequest{Transitions: ts})
	require.NoError(t, err)
	p := newProxy(t, server.Addresses()[0])
	p.set(func() { p.down, p.holdAtZero = 200<<10, true })
	slow := settings{"hosts": []string{p.address()}, "connect_timeout": "30s", "response_timeout": "30s", "call_timeout": "30s"}
	late := open(t, slow)
	eventually(t, patience, func() error {
		if err := late.try(limit); driver.ClassOf(err) != driver.Unavailable || !containsAny(err.Error(), "of 257 events") {
			return fmt.Errorf("no progress: %w", err)
		}
		return nil
	})
	p.set(func() { p.down, p.held, p.holdAtZero = -1, false, false })
	late.ready()
	require.NotNil(t, late.get("w-255"))
}

func TestProbeDescribesTheServer(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	s := open(t, calm(server.Addresses()...)).ready()
	s.put("a")
	first := s.probe()
	require.True(t, first.Healthy())
	require.Equal(t, "leader", first.Role)
	require.Equal(t, devserver.Version, first.Details["version"])
	require.Equal(t, server.Addresses()[0], first.Details["node"])
	created, started := newOperator(t, server.URL()).events(journalStream)[0], newOperator(t, server.URL()).events(journalStream)[1]
	require.Equal(t, strconv.Itoa(len(started.Data)+len(started.UserMetadata)), first.Details["bytes_per_transition"])
	others, err := strconv.Atoi(first.Details["other_bytes_per_transition"])
	require.NoError(t, err)
	require.GreaterOrEqual(t, others, len(created.Data)+len(created.UserMetadata))
	_, err = uuid.Parse(first.Generation)
	require.NoError(t, err)
	require.Equal(t, first.Generation, s.probe().Generation)
	require.Equal(t, int64(1), first.Records)
}
