// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// filler sets every field of a value of the contract to something that is not
// zero and not what any other field has.
type filler struct {
	next    int
	inError bool
}

func (f *filler) fill(v reflect.Value) {
	f.next++
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.UnixMilli(1_700_000_000_000 + int64(f.next)).UTC()))
		return
	case reflect.TypeFor[error]():
		if f.inError {
			v.Set(reflect.ValueOf(fmt.Errorf("cause %d: %w", f.next, context.DeadlineExceeded)))
			return
		}
		f.inError = true
		var e *driver.Error
		f.fill(reflect.ValueOf(&e).Elem())
		v.Set(reflect.ValueOf(e))
		f.inError = false
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		for _, field := range v.Fields() {
			f.fill(field)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key)
			f.fill(value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d \xff", f.next)) // not UTF-8: it must get through too
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1 + uint64(f.next)%15) // a class, status or state that exists; or bytes
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.next))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-int64(f.next)) // the store refuses negative numbers, not the wire
	default:
		panic("a field of type " + v.Type().String() + " in the contract: teach the wire and this test about it")
	}
}

func filled[T any]() T {
	var v T
	(&filler{}).fill(reflect.ValueOf(&v).Elem())
	return v
}

// carry sends a message through the codec on both sides.
func carry[M proto.Message](t *testing.T, in M) M {
	t.Helper()
	data, err := codec{}.Marshal(in)
	require.NoError(t, err)
	out, ok := in.ProtoReflect().New().Interface().(M)
	require.True(t, ok)
	require.NoError(t, codec{}.Unmarshal(data, out))

	// What the codec makes is protobuf to everybody else, and the other way round.
	plain, ok := in.ProtoReflect().New().Interface().(M)
	require.True(t, ok)
	require.NoError(t, proto.Unmarshal(data.Materialize(), plain))
	require.True(t, proto.Equal(out, plain))
	return out
}

// notInEvery are fields that a filled value of the contract does not set.
var notInEvery = map[protoreflect.FullName]string{
	"understudy.driver.v1.Instant.field":          "0 names the first field",
	"understudy.driver.v1.Instant.index":          "0 is the first record",
	"understudy.driver.v1.CommitRequest.instants": "times in whole milliseconds need none",
	"understudy.driver.v1.MergeRequest.instants":  "times in whole milliseconds need none",
	"understudy.driver.v1.CommitResponse.error":   "instead of an answer",
	"understudy.driver.v1.MergeResponse.error":    "instead of an answer",
	"understudy.driver.v1.ClaimResponse.error":    "instead of an answer",
	"understudy.driver.v1.GetResponse.error":      "instead of an answer",
	"understudy.driver.v1.ListResponse.error":     "instead of an answer",
	"understudy.driver.v1.ChangesResponse.error":  "instead of an answer",
	"understudy.driver.v1.EpochResponse.error":    "instead of an answer",
	"understudy.driver.v1.AdvanceResponse.error":  "instead of an answer",
	"understudy.driver.v1.DescribeResponse.error": "instead of an answer",
	"understudy.driver.v1.ProbeResponse.error":    "instead of an answer",
	"understudy.driver.v1.Cause.error":            "only of causes that have a class",
}

func everyFieldIsSet(t *testing.T, m protoreflect.Message) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if _, excused := notInEvery[field.FullName()]; !excused {
			require.True(t, m.Has(field), "%s is not set by its conversion", field.FullName())
		}
		if field.Kind() != protoreflect.MessageKind {
			continue
		}
		if field.IsList() {
			for j := range m.Get(field).List().Len() {
				everyFieldIsSet(t, m.Get(field).List().Get(j).Message())
			}
		} else if m.Has(field) {
			everyFieldIsSet(t, m.Get(field).Message())
		}
	}
}

func roundTrip[V any, M proto.Message](to func(V) M, from func(M) (V, error)) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		for _, want := range []V{filled[V](), *new(V)} {
			in := to(want)
			if !reflect.ValueOf(want).IsZero() {
				everyFieldIsSet(t, in.ProtoReflect())
				in = carry(t, in)
			}
			got, err := from(in)
			require.NoError(t, err)
			requireEqualValues(t, want, got)
		}
	}
}

// requireEqualValues compares like require.Equal, but errors by their text and
// class, since their types do not cross.
func requireEqualValues(t *testing.T, want, got any) {
	t.Helper()
	require.Equal(t, normal(reflect.ValueOf(want)), normal(reflect.ValueOf(got)))
}

func normal(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		return v.Interface()
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if err, ok := reflect.TypeAssert[error](v); ok && v.Elem().Type() != reflect.TypeFor[*driver.Error]() {
			return []any{err.Error(), driver.ClassOf(err)}
		}
		return normal(v.Elem())
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return normal(v.Elem())
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			fields[v.Type().Field(i).Name] = normal(v.Field(i))
		}
		return fields
	case reflect.Slice:
		var items []any
		for i := range v.Len() {
			items = append(items, normal(v.Index(i)))
		}
		return items
	}
	return v.Interface()
}

func response[V any, M proto.Message](to func(V, *wirev1.Error) M) func(V) M {
	return func(v V) M { return to(v, nil) }
}

// crossings has a test for each type that crosses the wire.
var crossings = map[string]func(*testing.T){
	"CommitRequest":    roundTrip(toCommitRequest, fromCommitRequest),
	"CommitResponse":   roundTrip(response(toCommitResponse), fromCommitResponse),
	"ClaimRequest":     roundTrip(toClaimRequest, fromClaimRequest),
	"ClaimResponse":    roundTrip(response(toClaimResponse), fromClaimResponse),
	"GetRequest":       roundTrip(toGetRequest, fromGetRequest),
	"GetResponse":      roundTrip(response(toGetResponse), fromGetResponse),
	"ListRequest":      roundTrip(toListRequest, fromListRequest),
	"ListResponse":     roundTrip(response(toListResponse), fromListResponse),
	"MergeRequest":     roundTrip(toMergeRequest, fromMergeRequest),
	"MergeResponse":    roundTrip(response(toMergeResponse), fromMergeResponse),
	"ChangesRequest":   roundTrip(toChangesRequest, fromChangesRequest),
	"ChangeBatch":      roundTrip(toChangesResponse, fromChangesResponse),
	"EpochRequest":     roundTrip(toEpochRequest, fromEpochRequest),
	"EpochResponse":    roundTrip(response(toEpochResponse), fromEpochResponse),
	"AdvanceRequest":   roundTrip(toAdvanceRequest, fromAdvanceRequest),
	"AdvanceResponse":  roundTrip(response(toAdvanceResponse), fromAdvanceResponse),
	"DescribeRequest":  roundTrip(toDescribeRequest, fromDescribeRequest),
	"DescribeResponse": roundTrip(response(toDescribeResponse), fromDescribeResponse),
	"ProbeRequest":     roundTrip(toProbeRequest, fromProbeRequest),
	"ProbeResponse":    roundTrip(response(toProbeResponse), fromProbeResponse),
}

func TestEveryFieldCrosses(t *testing.T) {
	t.Parallel()
	for name, test := range crossings {
		t.Run(name, test)
	}
}

func TestEveryMethodIsCovered(t *testing.T) {
	t.Parallel()
	calls := map[string]bool{}
	for _, m := range wirev1.Driver_ServiceDesc.Methods {
		calls[m.MethodName] = true
	}
	for _, s := range wirev1.Driver_ServiceDesc.Streams {
		calls[s.StreamName] = true
	}
	for method := range reflect.TypeFor[driver.Store]().Methods() {
		require.True(t, calls[method.Name], "no call for %s", method.Name)
		for in := range method.Type.Ins() {
			requireCrossing(t, in)
		}
		for out := range method.Type.Outs() {
			requireCrossing(t, out)
		}
	}
}

func requireCrossing(t *testing.T, of reflect.Type) {
	t.Helper()
	if of.Kind() == reflect.Func {
		requireCrossing(t, of.In(0))
	} else if of.Kind() == reflect.Struct {
		require.Contains(t, crossings, of.Name())
	}
}

// Times that the encoding of records cannot hold still reach the store, which
// refuses them.
func TestTimesInPartsOfMilliseconds(t *testing.T) {
	t.Parallel()
	odd := filled[driver.CommitRequest]()
	odd.Transitions[0].Record.Due = time.Unix(1_700_000_000, 123_456_789).UTC()
	odd.Transitions[1].Record.Expires = time.Unix(0, 0).UTC()
	got, err := fromCommitRequest(carry(t, toCommitRequest(odd)))
	require.NoError(t, err)
	require.Equal(t, odd, got)

	merge := driver.MergeRequest{Records: []driver.Record{odd.Transitions[0].Record, odd.Transitions[1].Record}}
	back, err := fromMergeRequest(carry(t, toMergeRequest(merge)))
	require.NoError(t, err)
	require.Equal(t, merge, back)
}
