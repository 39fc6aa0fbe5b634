// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
)

// noGRPC is a connection of which the test is that nothing takes it.
type noGRPC struct{}

func (noGRPC) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return errors.New("over gRPC")
}

func (noGRPC) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("over gRPC")
}

// hello is what a server says first.
var hello = []byte{10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}

// lane returns a lane to a far end that the test plays.
func lane(t *testing.T, first []byte) (*wire.Lane, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	l := wire.NewLane(ours, noGRPC{})
	t.Cleanup(func() { l.Close(); _ = theirs.Close() })
	if first != nil {
		_, err := theirs.Write(first)
		require.NoError(t, err)
		require.Eventually(t, l.Open, time.Minute, time.Millisecond)
	}
	return l, theirs
}

func TestLaneIsTakenOnlyWhenItIsServed(t *testing.T) {
	t.Parallel()
	l, theirs := lane(t, nil)
	client := wire.NewClient(l, "first")
	_, err := client.Get(t.Context(), driver.GetRequest{})
	require.ErrorContains(t, err, "over gRPC", "nobody has said hello")

	later := append([]byte(nil), hello...)
	later[13] = 99
	_, err = theirs.Write(later)
	require.NoError(t, err)
	_, err = theirs.Write([]byte{9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}) // an answer that is none ends it, so the hello was read
	require.NoError(t, err)
	_, err = theirs.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.False(t, l.Open(), "a version that is not known")
	_, err = client.Get(t.Context(), driver.GetRequest{})
	require.ErrorContains(t, err, "over gRPC")
}

func TestLaneCarriesNoSecrets(t *testing.T) {
	t.Parallel()
	l, _ := lane(t, hello)
	client := wire.NewClient(l, "first")
	require.ErrorContains(t, client.Open(t.Context(), driver.OpenRequest{Config: []byte(`{"password":"x"}`)}), "over gRPC")
	require.ErrorContains(t, client.Validate(t.Context(), []byte(`{"password":"x"}`)), "over gRPC")
	require.ErrorContains(t, client.Changes(t.Context(), driver.ChangesRequest{}, nil), "over gRPC")
}

func TestLaneThatEnds(t *testing.T) {
	t.Parallel()
	l, theirs := lane(t, hello)
	client := wire.NewClient(l, "first")
	write, read := make(chan error, 1), make(chan error, 1)
	go func() { _, err := client.Commit(t.Context(), one("a")); write <- err }()
	_, _, err := frame(theirs)
	require.NoError(t, err)
	go func() { _, err := client.Get(t.Context(), driver.GetRequest{}); read <- err }()
	_, _, err = frame(theirs)
	require.NoError(t, err)
	require.NoError(t, theirs.Close())
	err = <-write
	require.ErrorIs(t, err, driver.Unknown, "the other end may have done it")
	require.NotErrorIs(t, err, wire.ErrNotSent)
	require.ErrorIs(t, <-read, driver.Unavailable)
	require.Eventually(t, func() bool { return !l.Open() }, time.Minute, time.Millisecond)
	_, err = client.Commit(t.Context(), one("a"))
	require.ErrorContains(t, err, "over gRPC")
}

// frame reads one frame.
func frame(conn net.Conn) (kind byte, call uint64, err error) {
	head := make([]byte, 13)
	if _, err = io.ReadFull(conn, head); err == nil {
		_, err = io.CopyN(io.Discard, conn, int64(binary.LittleEndian.Uint32(head))-9)
	}
	return head[4], binary.LittleEndian.Uint64(head[5:]), err
}

// A call ends with its context also while the other end reads nothing, and what
// it has sent does not disturb the calls after it.
func TestLaneWhoseOtherEndIsFrozen(t *testing.T) {
	t.Parallel()
	l, theirs := lane(t, hello)
	client := wire.NewClient(l, "first")
	big := one("a")
	big.Transitions[0].Record.Input = make([]byte, 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			_, err := client.Commit(ctx, big)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	head := make([]byte, 13)
	_, err := io.ReadFull(theirs, head) // one of them at least is being sent
	require.NoError(t, err)
	cancel()
	callers.Wait()
	_, err = io.CopyN(io.Discard, theirs, int64(binary.LittleEndian.Uint32(head))-9)
	require.NoError(t, err)

	answered := make(chan error, 1)
	go func() { _, err := client.Commit(t.Context(), one("b")); answered <- err; _ = theirs.Close() }()
	kinds := map[byte]int{1: 1}
	for {
		kind, call, err := frame(theirs)
		if err != nil {
			break
		}
		kinds[kind]++
		if kind == 1 {
			answer := []byte{25, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0}
			binary.LittleEndian.PutUint64(answer[5:], call)
			_, err = theirs.Write(append(answer, "no such luck"...))
			require.NoError(t, err)
		}
	}
	require.ErrorContains(t, <-answered, "no such luck")
	require.NotZero(t, kinds[3])
	require.Equal(t, kinds[1]-1, kinds[3], "each caller has told that it does not wait")
}

// FuzzLane proves that no bytes make the server of a lane panic or hang.
func FuzzLane(f *testing.F) {
	f.Add([]byte{})
	f.Add(hello)
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Add([]byte{9, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{24, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0}, "\x00\x00\x00\x00\x00\x00\x00\x00\x06Commit"...))
	f.Add(append([]byte{21, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0}, "\x00\x00\x00\x00\x00\x00\x00\x00\x06Com"...))
	f.Add(append([]byte{25, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0}, "\x01\x00\x00\x00\x00\x00\x00\xff\x03Get\xff\xff\xff"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- wire.NewServer(stubDriver(&stub{}), nil).ServeLane(theirs) }()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		_, _ = ours.Write(data)
		_ = ours.Close()
		require.Error(t, <-ended)
	})
}
