// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/journal"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 120_000_000, time.UTC)

// through takes an event through the form that the server stores.
func through(t require.TestingT, e journal.Event) journal.Event {
	requests, _, err := messages([]journal.Event{e})
	require.NoError(t, err)
	m := proposedBy(t, requests[0])
	require.True(t, json.Valid(m.GetData()), "data: %s", m.GetData())
	require.True(t, json.Valid(m.GetCustomMetadata()), "metadata: %s", m.GetCustomMetadata())
	back, err := newDecoder().decode(recorded{data: m.GetData(), metadata: m.GetCustomMetadata()})
	require.NoError(t, err)
	return back
}

// proposedBy reads a message with the generated code.
func proposedBy(t require.TestingT, f frame) *streams.AppendReq_ProposedMessage {
	var req streams.AppendReq
	require.NoError(t, proto.Unmarshal(f.b, &req))
	return req.GetProposedMessage()
}

func TestProposedEventsAreReadByTheGeneratedCode(t *testing.T) {
	t.Parallel()
	id := newIDs(1)[0]
	m := proposedBy(t, proposed(id, strings.Repeat("T", 300), []byte("meta"), []byte("data")))
	require.Equal(t, id.String(), m.GetId().GetString_())
	require.Equal(t, map[string]string{"type": strings.Repeat("T", 300), "content-type": "application/json"}, m.GetMetadata())
	require.Equal(t, []string{"meta", "data"}, []string{string(m.GetCustomMetadata()), string(m.GetData())})
	require.Equal(t, uuid.Version(4), id.Version())
	require.Equal(t, uuid.RFC4122, id.Variant())
}

func origin() *journal.Origin {
	return &journal.Origin{Batch: &journal.Batch{ID: driver.NewToken(), Time: noon}, After: 12, Epoch: 3}
}

func full() driver.Record {
	return driver.Record{
		ID: "call-\"1\"/ä\\", Kind: "recording", Revision: 1<<64 - 1, Epoch: 1<<64 - 2, Token: driver.NewToken(), Status: driver.Leased,
		Due: noon, Lease: driver.Lease{Owner: "host-1", Token: driver.NewToken()}, Attempt: 1<<32 - 1, Step: "archive",
		State: []byte(`{"a": 1.0}`), Input: []byte("\x00\xff"), Output: []byte("null"), Failure: "line 1\nline 2\t\x01\u2028", Created: noon.Add(-time.Hour),
		Updated: noon.Add(time.Millisecond), Labels: map[string]string{"site \"x\"": "a\nb", "z": ""},
	}
}

func TestRecordsKeepEveryField(t *testing.T) {
	t.Parallel()
	finished := full()
	finished.Status, finished.Lease, finished.Due, finished.Expires = driver.Succeeded, driver.Lease{}, time.Time{}, noon
	first := driver.Record{ID: "a", Kind: "k", Revision: 1, Token: driver.NewToken(), Status: driver.Ready, Due: noon, Created: noon, Updated: noon}
	for name, rec := range map[string]driver.Record{"full": full(), "finished": finished, "first": first} {
		for _, kind := range []journal.Kind{journal.Committed, journal.Claimed, journal.Merged, journal.Compacted} {
			t.Run(name+"/"+kind.String(), func(t *testing.T) {
				t.Parallel()
				e := journal.Event{Kind: kind, Index: 7, Origin: origin(), Base: driver.NewToken(), Data: driver.AppendRecord(nil, &rec)}
				back := through(t, e)
				require.Equal(t, e.Origin, back.Origin)
				require.Equal(t, []any{e.Kind, e.Index, e.Base}, []any{back.Kind, back.Index, back.Base})
				want := rec
				if kind == journal.Committed || kind == journal.Claimed {
					require.Equal(t, rec.Revision > 1, back.Partial)
				} else {
					require.False(t, back.Partial, "it carries the whole record")
				}
				if back.Partial {
					want.Kind, want.Input, want.Labels, want.Created = "", nil, nil, time.Time{}
				}
				got, err := driver.DecodeRecord(back.Data)
				require.NoError(t, err)
				require.True(t, driver.Equal(&want, &got), "got %+v\nwant %+v", got, want)
			})
		}
	}
}

func TestPayloadsKeepEveryByte(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		payload string
		asJSON  bool
	}{
		"object":               {`{"call":"1","parties":["a","b"]}`, true},
		"object with spaces":   {"{ \"b\" : 1.50,\n\t\"a\" : [ ] }", true},
		"repeated keys":        {`{"a":1,"a":2}`, true},
		"text":                 {`"a\u0041\"}]"`, true},
		"number":               {`1.0e+5`, true},
		"null":                 {`null`, true},
		"true":                 {`true`, true},
		"nested":               {strings.Repeat(`[{"a":`, 100) + `"]}"` + strings.Repeat(`}]`, 100), true},
		"space before":         {` {}`, false},
		"line end behind":      {"{}\n", false},
		"two values":           {`{} {}`, false},
		"broken":               {`{"a":`, false},
		"text of JSON invalid": {"\"\xff\"", false},
		"binary":               {"\x00\x01\xfe", false},
		"plain text":           {`hello`, false},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			rec := driver.Record{ID: "a", Kind: "k", Revision: 1, Token: driver.NewToken(), Status: driver.Ready, Due: noon, Created: noon, Updated: noon,
				Input: []byte(c.payload), State: []byte(c.payload), Output: []byte(c.payload)}
			e := journal.Event{Kind: journal.Committed, Origin: origin(), Data: driver.AppendRecord(nil, &rec)}
			got, err := driver.DecodeRecord(through(t, e).Data)
			require.NoError(t, err)
			require.Equal(t, []string{c.payload, c.payload, c.payload}, []string{string(got.Input), string(got.State), string(got.Output)})
			enc, err := encode(&e)
			require.NoError(t, err)
			var shown map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(enc.data, &shown))
			require.Equal(t, c.asJSON, shown["input"] != nil, "shown as JSON")
			require.Equal(t, !c.asJSON, shown["inputBase64"] != nil, "shown as base64")
		})
	}
}

func TestAnyRecordComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte {
			b, _ := json.Marshal(map[string]string{s: s}) // strings can always be encoded
			return b
		}))
		text := rapid.StringN(0, 20, 200)
		rec := driver.Record{
			ID: rapid.StringN(1, 20, 200).Draw(t, "id"), Kind: text.Draw(t, "kind"), Revision: rapid.Uint64Min(1).Draw(t, "revision"), Epoch: rapid.Uint64().Draw(t, "epoch"),
			Token: driver.NewToken(), Status: driver.Status(rapid.IntRange(1, 7).Draw(t, "status")), Step: text.Draw(t, "step"), Failure: text.Draw(t, "failure"),
			Due: time.UnixMilli(rapid.Int64Range(1, 253402300799999).Draw(t, "due")).UTC(), Created: noon, Updated: noon,
			Input: payload.Draw(t, "input"), State: payload.Draw(t, "state"), Output: payload.Draw(t, "output"),
			Labels: rapid.MapOfN(rapid.StringN(1, 10, 60), text, 0, 4).Draw(t, "labels"),
		}
		e := journal.Event{Kind: journal.Merged, Origin: origin(), Data: driver.AppendRecord(nil, &rec)}
		require.Equal(t, e.Data, through(t, e).Data)
	})
}

func TestOtherEventsKeepWhatTheyCarry(t *testing.T) {
	t.Parallel()
	for kind, data := range map[journal.Kind]string{
		journal.Created: `{"incarnation":5}`, journal.EpochAdvanced: `{"expect":{"Number":0,"Version":0}}`, journal.Checkpointed: `{"incarnation":5,"epoch":{}}`,
		journal.ClaimsKept: `{"claims":[]}`, journal.Truncated: `{"before":7}`, journal.Expired: "call \"1\"\\",
	} {
		e := journal.Event{Kind: kind, Origin: origin(), Data: []byte(data)}
		require.Equal(t, e.Data, through(t, e).Data, "%s", kind)
	}
	require.Equal(t, journal.Probed, through(t, journal.Event{Kind: journal.Probed, Origin: origin()}).Kind)
}

func TestFramesAreReadAsTheGeneratedCodeDoes(t *testing.T) {
	t.Parallel()
	event := &streams.ReadResp_ReadEvent_RecordedEvent{
		Id: &shared.UUID{}, StreamRevision: 1<<64 - 1, CommitPosition: 5, PreparePosition: 6,
		Metadata: map[string]string{"type": "T"}, CustomMetadata: []byte("{}"), Data: []byte("data"),
	}
	for name, resp := range map[string]*streams.ReadResp{
		"event":     {Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: event, Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: 5}}}},
		"no event":  {Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{}}},
		"caught up": {Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}},
		"position":  {Content: &streams.ReadResp_LastStreamPosition{LastStreamPosition: 7}},
		"nothing":   {},
	} {
		b, err := newFrameCodec().Marshal(resp)
		require.NoError(t, err)
		var f frame
		require.NoError(t, newFrameCodec().Unmarshal(b, &f))
		got, found, err := f.event()
		require.NoError(t, err)
		want := resp.GetEvent().GetEvent()
		require.Equal(t, want != nil, found, name)
		require.Equal(t, recorded{revision: want.GetStreamRevision(), metadata: want.GetCustomMetadata(), data: want.GetData()}, got, name)
		var back streams.ReadResp
		require.NoError(t, newFrameCodec().Unmarshal(b, &back), "other messages as ever")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x0a, 0x04, 0x0a, 0x02, 0x18, 0x07})
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, found, err := frame{b}.event()
		var resp streams.ReadResp
		if proto.Unmarshal(b, &resp) == nil {
			require.NoError(t, err, "what the generated code reads can be read")
			require.Equal(t, resp.GetEvent().GetEvent() != nil || found, found)
		}
	})
}

func TestTypesReadWell(t *testing.T) {
	t.Parallel()
	stamp := driver.Stamp{Epoch: 1, Token: driver.NewToken(), Now: noon}
	started, err := driver.Start(stamp, driver.Workflow{ID: "a", Kind: "k"})
	require.NoError(t, err)
	claimed, err := driver.Claim(driver.Stamp{Epoch: 1, Token: driver.NewToken(), Now: noon}, started.Record, "h", noon.Add(time.Hour))
	require.NoError(t, err)
	held := driver.Stamp{Epoch: 1, Token: driver.NewToken(), Now: noon.Add(time.Second), Lease: claimed.Record.Lease.Token}
	by := func(tr driver.Transition, err error) driver.Record {
		require.NoError(t, err)
		return tr.Record
	}
	failed := by(driver.Fail(held, claimed.Record, driver.Failure{Reason: "no"}))
	for want, next := range map[string]driver.Record{
		"LeaseExtended":     by(driver.Extend(held, claimed.Record, noon.Add(2*time.Hour))),
		"SavePointReached":  by(driver.Save(held, claimed.Record, "s", nil, noon.Add(time.Hour))),
		"WorkflowYielded":   by(driver.Yield(held, claimed.Record, "s", nil, noon)),
		"WorkflowWaiting":   by(driver.Wait(held, claimed.Record, "s", nil, noon)),
		"WorkflowSucceeded": by(driver.Succeed(held, claimed.Record, nil, noon)),
		"WorkflowFailed":    failed,
		"AttemptFailed":     by(driver.Fail(held, claimed.Record, driver.Failure{Reason: "no", Retry: noon})),
		"WorkflowReleased":  by(driver.Release(held, claimed.Record, noon)),
		"WorkflowCancelled": by(driver.Cancel(held, claimed.Record, "why", noon)),
		"WorkflowClaimed":   claimed.Record,
	} {
		base := claimed.Record
		if want == "WorkflowClaimed" {
			base = started.Record
		}
		require.Equal(t, want, typeOf(&journal.Event{Kind: journal.Committed, Verb: journal.VerbOf(&base, &next)}, &next))
	}
	requeued := by(driver.Requeue(stamp, failed, noon))
	require.Equal(t, "WorkflowRequeued", typeOf(&journal.Event{Kind: journal.Committed, Verb: journal.VerbOf(&failed, &requeued)}, &requeued))
	require.Equal(t, "WorkflowStarted", typeOf(&journal.Event{Kind: journal.Committed, Verb: journal.VerbOf(nil, &started.Record)}, &started.Record))
	require.Equal(t, "MirroredWorkflowStarted", typeOf(&journal.Event{Kind: journal.Merged}, &started.Record))
	require.Equal(t, "MirroredWorkflowFailed", typeOf(&journal.Event{Kind: journal.Merged}, &failed))
	for kind := journal.Created; kind <= journal.Probed; kind++ {
		require.NotEmpty(t, typeOf(&journal.Event{Kind: kind}, &started.Record), "%s", kind)
	}
}

func TestEveryRecordFitsIntoTheSmallestAppend(t *testing.T) {
	t.Parallel()
	rec := full()
	rec.Failure = strings.Repeat("\x01", driver.MaxFailureBytes)
	rec.Labels = map[string]string{}
	for i := range driver.MaxLabels {
		rec.Labels[strings.Repeat("\"", driver.MaxLabelKey-1)+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = strings.Repeat("\x01", driver.MaxLabelValue)
	}
	rec.Input = nil
	rec.Input = []byte(strings.Repeat("\xff", driver.MaxRecordBytes-driver.EncodedSize(&rec)-2))
	require.Equal(t, driver.MaxRecordBytes, driver.EncodedSize(&rec))
	enc, err := encode(&journal.Event{Kind: journal.Merged, Data: driver.AppendRecord(nil, &rec)})
	require.NoError(t, err)
	c := DefaultConfig()
	c.AppendBytes = enc.size()
	require.Error(t, c.Validate(), "an append limit of %d bytes, which the largest record takes, is allowed only just", enc.size())
	require.Less(t, enc.size(), 512<<10)
}

// TestSizeIsWhatTheStrictestServerCounts adds up what a server may count: the data,
// the metadata and twice the length of the type.
func TestSizeIsWhatTheStrictestServerCounts(t *testing.T) {
	t.Parallel()
	most := &journal.Origin{Batch: &journal.Batch{ID: driver.NewToken(), Time: noon.Add(time.Nanosecond)}, After: 1<<64 - 1, Epoch: 1<<64 - 1}
	rec := full()
	rec.ID = strings.Repeat("\x01", driver.MaxIDBytes)
	data := driver.AppendRecord(nil, &rec)
	for kind := journal.Created; kind <= journal.Probed; kind++ {
		e := journal.Event{Kind: kind, Index: 1<<31 - 1, Origin: most, Base: driver.NewToken(), Verb: journal.VerbOf(nil, &rec)}
		switch {
		case kind.HasRecord():
			e.Data = data
		case kind == journal.Expired:
			e.Data = []byte(rec.ID)
		}
		size, err := (&log{}).Size(&e)
		require.NoError(t, err)
		frames, _, err := messages([]journal.Event{e})
		require.NoError(t, err)
		m := proposedBy(t, frames[0])
		counted := len(m.GetData()) + len(m.GetCustomMetadata()) + 2*len(m.GetMetadata()["type"])
		require.GreaterOrEqual(t, size, counted, "%s", kind)
		require.Less(t, size, counted+envelopeMost, "%s", kind)
	}
}

func TestDecodeTellsForeignFromLater(t *testing.T) {
	t.Parallel()
	batch := driver.NewToken().String()
	for name, c := range map[string]struct {
		metadata, data string
		later          bool
	}{
		"no metadata":       {"", "{}", false},
		"other metadata":    {`{"$correlationId":"x"}`, "{}", false},
		"unknown kind":      {`{"format":1,"event":"dreamt","batch":"` + batch + `"}`, "{}", false},
		"no batch":          {`{"format":1,"event":"probed"}`, "{}", false},
		"broken metadata":   {`{"format":1,`, "{}", false},
		"more behind":       {`{"format":1,"event":"probed","batch":"` + batch + `"} x`, "{}", false},
		"record is no JSON": {`{"format":1,"event":"committed","batch":"` + batch + `"}`, "nonsense", false},
		"record unknown":    {`{"format":1,"event":"committed","batch":"` + batch + `"}`, `{"id":"a","revision":1,"status":"ready","colour":"red"}`, false},
		"record is empty":   {`{"format":1,"event":"committed","batch":"` + batch + `"}`, `{}`, false},
		"later":             {`{"format":2,"event":"dreamt"}`, "{}", true},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			_, err := newDecoder().decode(recorded{data: []byte(c.data), metadata: []byte(c.metadata)})
			if c.later {
				require.ErrorAs(t, err, &laterFormat{})
				return
			}
			require.ErrorIs(t, err, errForeign)
		})
	}
}

// FuzzDecode sees to it that no event of somebody else does harm.
func FuzzDecode(f *testing.F) {
	rec := full()
	requests, _, err := messages([]journal.Event{{Kind: journal.Committed, Origin: origin(), Data: driver.AppendRecord(nil, &rec)}})
	require.NoError(f, err)
	m := proposedBy(f, requests[0])
	f.Add(m.GetCustomMetadata(), m.GetData())
	f.Add([]byte(`{"format":1,"event":"expired","batch":"00000000000000000000000000000001"}`), []byte(`{"id":"a"}`))
	f.Add([]byte(`{"`), []byte(`[`))
	f.Fuzz(func(t *testing.T, metadata, data []byte) {
		e, err := newDecoder().decode(recorded{data: data, metadata: metadata})
		if err == nil && e.Kind.HasRecord() {
			_, err := driver.DecodeRecord(e.Data)
			require.NoError(t, err)
		}
	})
}
