// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// FuzzFilter: no filter is a panic; one that is taken lets through what begins with its prefix.
func FuzzFilter(f *testing.F) {
	for _, regex := range []string{"", "(", "^T$", `^[^\$].*`, "(?!x)", strings.Repeat("(a*)*", 10), "\xff"} {
		f.Add(regex, "prefix", "prefixed stream", uint32(32), uint32(1), true)
		f.Add(regex, "", "", uint32(0), uint32(0), false)
		f.Add(regex, "\x00\xff", "$system", uint32(1<<31), uint32(1<<32-1), true)
	}
	f.Fuzz(func(t *testing.T, regex, prefix, subject string, window, multiplier uint32, onType bool) {
		e := &api.ReadReq_Options_FilterOptions_Expression{Regex: regex, Prefix: []string{prefix}}
		o := &api.ReadReq_Options_FilterOptions{CheckpointIntervalMultiplier: multiplier,
			Filter: &api.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: e},
			Window: &api.ReadReq_Options_FilterOptions_Max{Max: window}}
		if onType {
			o.Filter = &api.ReadReq_Options_FilterOptions_EventType{EventType: e}
			o.Window = &api.ReadReq_Options_FilterOptions_Count{Count: &shared.Empty{}}
		}
		got, err := parseFilter(o)
		if err != nil {
			require.Equal(t, codes.Unknown, status.Code(err))
			return
		}
		require.GreaterOrEqual(t, got.window, 0)
		require.GreaterOrEqual(t, got.interval, int64(0))
		stream, eventType := subject, "other"
		if onType {
			stream, eventType = "other", subject
		}
		matches := got.match([]byte(stream), []byte(eventType))
		if regex == "" {
			require.Equal(t, strings.HasPrefix(subject, prefix), matches)
		}
	})
}

func TestFilterRefusesWhatIsIncomplete(t *testing.T) {
	t.Parallel()
	expression := &api.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: &api.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"s"}}}
	count := &api.ReadReq_Options_FilterOptions_Count{Count: &shared.Empty{}}
	for _, o := range []*api.ReadReq_Options_FilterOptions{{}, {Window: count}, {Filter: expression}} {
		_, err := parseFilter(o)
		require.Equal(t, codes.InvalidArgument, status.Code(err))
	}
	f, err := parseFilter(&api.ReadReq_Options_FilterOptions{Filter: expression, Window: count, CheckpointIntervalMultiplier: 3})
	require.NoError(t, err)
	require.Equal(t, pageSize, f.window)
	require.EqualValues(t, 3*pageSize, f.interval)
}
