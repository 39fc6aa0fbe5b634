// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

func TestEveryClassCrosses(t *testing.T) {
	t.Parallel()
	for _, class := range driver.Classes() {
		e := filled[*driver.Error]()
		e.Class = class
		got := fromError(carry(t, toError(e)))
		requireEqualValues(t, e, got)
		require.ErrorIs(t, got, class)
		require.ErrorIs(t, got, context.DeadlineExceeded)
		require.Equal(t, e.Error(), got.Error())

		bare := fromError(carry(t, toError(class)))
		require.ErrorIs(t, bare, class)
		require.Equal(t, class.Error(), bare.Error())

		wrapped := fromError(carry(t, toError(fmt.Errorf("around it: %w", e))))
		require.ErrorIs(t, wrapped, class)
		require.ErrorContains(t, wrapped, "around it: ")

		verdicts, err := fromVerdicts(carry(t, toVerdicts([]driver.Verdict{{Applied: true}, {Err: e}, {}})))
		require.NoError(t, err)
		requireEqualValues(t, []driver.Verdict{{Applied: true}, {Err: e}, {}}, verdicts)
	}
	require.NoError(t, fromError(toError(nil)))
}

func TestCausesCross(t *testing.T) {
	t.Parallel()
	denied := &driver.Error{Class: driver.Denied, Detail: "NOAUTH"}
	for name, test := range map[string]struct {
		cause error
		is    []error
		not   []error
	}{
		"Deadline":      {context.DeadlineExceeded, []error{context.DeadlineExceeded}, []error{context.Canceled}},
		"Canceled":      {fmt.Errorf("read: %w", context.Canceled), []error{context.Canceled}, []error{context.DeadlineExceeded}},
		"Text":          {errors.New("EOF"), nil, []error{context.Canceled, context.DeadlineExceeded, driver.Unknown}},
		"Error":         {denied, []error{driver.Denied}, nil},
		"WrappedError":  {fmt.Errorf("dial: %w", denied), []error{driver.Denied}, nil},
		"WrappedClass":  {fmt.Errorf("dial: %w", driver.Denied), []error{driver.Denied}, nil},
		"ErrorOverText": {&driver.Error{Class: driver.Full, Cause: errors.New("disk")}, []error{driver.Full}, nil},
		"Joined":        {errors.Join(errors.New("one"), denied, context.Canceled), []error{driver.Denied, context.Canceled}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := &driver.Error{Class: driver.Unavailable, Op: "get", Cause: test.cause}
			got := fromError(carry(t, toError(want)))
			require.Equal(t, want.Error(), got.Error())
			require.ErrorIs(t, got, driver.Unavailable)
			for _, is := range test.is {
				require.ErrorIs(t, got, is)
			}
			for _, not := range test.not {
				require.NotErrorIs(t, got, not)
			}
		})
	}
	deep := error(denied)
	for range 100 {
		deep = &driver.Error{Class: driver.Unavailable, Cause: deep}
	}
	require.Equal(t, deep.Error(), fromError(carry(t, toError(deep))).Error(), "the text comes whole")
}

// What this side does not know is never taken for "certainly not done".
func TestUnknownClassesAreUnknown(t *testing.T) {
	t.Parallel()
	for _, class := range []uint32{0, 17, 255, 256 + 14, 1 << 31} {
		require.ErrorIs(t, fromError(&wirev1.Error{Class: class}), driver.Unknown)
	}
	require.ErrorIs(t, fromError(&wirev1.Error{Class: 14, Stored: []byte("no record")}), driver.Unknown)
	require.ErrorIs(t, fromError(&wirev1.Error{Class: 14, Epoch: &wirev1.Epoch{Token: []byte{1}}}), driver.Unknown)
	require.Equal(t, driver.Unknown, driver.ClassOf(fromError(toError(errors.New("no class")))))
}

func TestVerdictsThatDoNotFit(t *testing.T) {
	t.Parallel()
	_, err := fromVerdicts(&wirev1.Verdicts{Flags: []byte{verdictFailed}})
	require.ErrorIs(t, err, driver.Internal)
	_, err = fromVerdicts(&wirev1.Verdicts{Flags: []byte{0}, Errors: []*wirev1.Error{{Class: 1}}})
	require.ErrorIs(t, err, driver.Internal)
}

// Every status of gRPC has its class: what may have been done is Unknown.
func TestStatusOfTheTransport(t *testing.T) {
	t.Parallel()
	special := map[codes.Code]driver.Class{codes.Unimplemented: driver.Unsupported, codes.ResourceExhausted: driver.TooLarge}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		for _, op := range []operation{opCommit, opClaim, opMerge, opAdvance, opGet, opList, opChanges, opEpoch, opProbe, opDescribe} {
			for _, sent := range []bool{true, false} {
				want := driver.Unavailable
				if op.mutation && sent {
					want = driver.Unknown
				}
				if class, ok := special[code]; ok && (want != driver.Unknown || code == codes.Unimplemented) {
					want = class
				}
				err := op.transportError(t.Context(), &outgoing{sent: sent}, status.Error(code, "as it is"))
				require.ErrorIs(t, err, want, "%s of %s, sent %t", code, op.name, sent)
				require.Equal(t, !sent, errors.Is(err, ErrNotSent))
				require.Equal(t, code == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded))
				require.NotErrorIs(t, err, context.Canceled, "nobody here has cancelled")
			}
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	err := opCommit.transportError(ctx, &outgoing{sent: true}, status.Error(codes.Canceled, "canceled"))
	require.ErrorIs(t, err, driver.Unknown)
	require.ErrorContains(t, err, "enough")
}
