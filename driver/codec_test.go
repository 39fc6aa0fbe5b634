// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/understudy-dev/understudy/driver"
)

// full returns a record in which no field is zero, found by reflection so that a
// new field cannot be forgotten.
func full(t *testing.T) driver.Record {
	t.Helper()
	var r driver.Record
	n := 0
	fill(t, reflect.ValueOf(&r).Elem(), &n)
	return r
}

func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = noon.Add(time.Duration(*n) * time.Millisecond)
		return
	case *map[string]string:
		*x = map[string]string{fmt.Sprint("k", *n): "v", "empty": ""}
		return
	case *[]byte:
		*x = []byte{byte(*n), 0xff, 0}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text", *n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(t, field, n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	default:
		require.Failf(t, "no way to fill", "%s", v.Type())
	}
}

func TestRecordCodecKeepsEveryField(t *testing.T) {
	t.Parallel()
	r := full(t)
	b := driver.AppendRecord([]byte("prefix"), &r)[len("prefix"):]
	require.Len(t, b, driver.EncodedSize(&r))
	got, err := driver.DecodeRecord(b)
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.True(t, driver.Equal(&r, &got))
}

func TestRecordCodecOfZeroRecord(t *testing.T) {
	t.Parallel()
	empty := driver.Record{State: []byte{}, Labels: map[string]string{}}
	got, err := driver.DecodeRecord(driver.AppendRecord(nil, &empty))
	require.NoError(t, err)
	require.Equal(t, driver.Record{}, got, "nil and empty mean the same, and nil is what comes back")
}

func TestRecordEncodingIsCanonical(t *testing.T) {
	t.Parallel()
	a := ready()
	b := ready()
	b.Updated = b.Updated.In(time.FixedZone("elsewhere", 3600))
	b.Labels = map[string]string{"a": "1", "b": "2"}
	require.True(t, driver.Equal(&a, &b))
	require.Equal(t, driver.AppendRecord(nil, &a), driver.AppendRecord(nil, &b))
}

func TestDecodeRecordRefusesEveryTruncation(t *testing.T) {
	t.Parallel()
	r := full(t)
	b := driver.AppendRecord(nil, &r)
	for n := range len(b) {
		_, err := driver.DecodeRecord(b[:n])
		require.ErrorIs(t, err, driver.Internal, "first %d bytes", n)
	}
	_, err := driver.DecodeRecord(append(bytes.Clone(b), 0))
	require.ErrorIs(t, err, driver.Internal)
	b[0] = 99
	_, err = driver.DecodeRecord(b)
	require.ErrorContains(t, err, "format: 99, want 1")
}

func TestEqualSeesEveryField(t *testing.T) {
	t.Parallel()
	base := full(t)
	var differ func(v reflect.Value, name string)
	changed := base.Clone()
	differ = func(v reflect.Value, name string) {
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				differ(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
			return
		}
		saved := reflect.New(v.Type()).Elem()
		saved.Set(v)
		v.SetZero()
		require.False(t, driver.Equal(&base, &changed), name)
		v.Set(saved)
		require.True(t, driver.Equal(&base, &changed), name)
	}
	differ(reflect.ValueOf(&changed).Elem(), "Record")
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	r := full(t)
	c := r.Clone()
	c.State[0]++
	c.Input[0]++
	c.Output[0]++
	c.Labels["new"] = "x"
	require.Equal(t, full(t), r)
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range []driver.Record{{}, ready(), leased()} {
		f.Add(driver.AppendRecord(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := driver.DecodeRecord(bytes.Clone(b))
		if err != nil {
			require.ErrorIs(t, err, driver.Internal)
			return
		}
		again, err := driver.DecodeRecord(driver.AppendRecord(nil, &r))
		require.NoError(t, err)
		require.True(t, driver.Equal(&r, &again))
	})
}

func TestCompareIsAnOrderOfTransitions(t *testing.T) {
	t.Parallel()
	gen := rapid.Custom(func(t *rapid.T) driver.Record {
		return driver.Record{
			Epoch: rapid.Uint64Range(0, 2).Draw(t, "epoch"), Revision: rapid.Uint64Range(1, 3).Draw(t, "revision"),
			Token: token(rapid.Byte().Draw(t, "token") % 3), Created: time.UnixMilli(rapid.Int64Range(1, 3).Draw(t, "created")),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		require.Equal(t, -driver.Compare(&a, &b), driver.Compare(&b, &a))
		require.Equal(t, a.Epoch == b.Epoch && a.Created.Equal(b.Created) && a.Revision == b.Revision && a.Token == b.Token, driver.Compare(&a, &b) == 0)
		if driver.Compare(&a, &b) <= 0 && driver.Compare(&b, &c) <= 0 {
			require.LessOrEqual(t, driver.Compare(&a, &c), 0)
		}
	})
}
