// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// convertAll reads data as every message there is, as far as that goes.
func convertAll(data []byte) (read int) {
	try := func(m proto.Message, convert func()) {
		if (codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, m) == nil {
			read++
			convert()
		}
	}
	commit, merge, claim, get, list := &wirev1.CommitRequest{}, &wirev1.MergeRequest{}, &wirev1.ClaimRequest{}, &wirev1.GetRequest{}, &wirev1.ListRequest{}
	try(commit, func() { _, _ = fromCommitRequest(commit) })
	try(merge, func() { _, _ = fromMergeRequest(merge) })
	try(claim, func() { _, _ = fromClaimRequest(claim) })
	try(get, func() { _, _ = fromGetRequest(get) })
	try(list, func() { _, _ = fromListRequest(list) })
	changes, advance, probe := &wirev1.ChangesRequest{}, &wirev1.AdvanceRequest{}, &wirev1.ProbeRequest{}
	try(changes, func() { _, _ = fromChangesRequest(changes) })
	try(advance, func() { _, _ = fromAdvanceRequest(advance) })
	try(probe, func() { _, _ = fromProbeRequest(probe) })

	committed, merged, claimed, got, listed := &wirev1.CommitResponse{}, &wirev1.MergeResponse{}, &wirev1.ClaimResponse{}, &wirev1.GetResponse{}, &wirev1.ListResponse{}
	try(committed, func() { _, _ = fromCommitResponse(committed); _ = fromError(committed.GetError()) })
	try(merged, func() { _, _ = fromMergeResponse(merged) })
	try(claimed, func() { _, _ = fromClaimResponse(claimed) })
	try(got, func() { _, _ = fromGetResponse(got) })
	try(listed, func() { _, _ = fromListResponse(listed) })
	changed, epoch, advanced := &wirev1.ChangesResponse{}, &wirev1.EpochResponse{}, &wirev1.AdvanceResponse{}
	try(changed, func() { _, _ = fromChangesResponse(changed) })
	try(epoch, func() { _, _ = fromEpochResponse(epoch) })
	try(advanced, func() { _, _ = fromAdvanceResponse(advanced) })
	described, probed, failure := &wirev1.DescribeResponse{}, &wirev1.ProbeResponse{}, &wirev1.Error{}
	try(described, func() { _, _ = fromDescribeResponse(described) })
	try(probed, func() { _, _ = fromProbeResponse(probed) })
	try(failure, func() { _ = fromError(failure) })
	return read
}

// FuzzMessages proves that no bytes make either end panic.
func FuzzMessages(f *testing.F) {
	for _, m := range []proto.Message{
		toCommitRequest(filled[driver.CommitRequest]()), toMergeRequest(filled[driver.MergeRequest]()), toClaimRequest(filled[driver.ClaimRequest]()),
		toChangesResponse(filled[driver.ChangeBatch]()), toCommitResponse(filled[driver.CommitResponse](), nil), toError(filled[*driver.Error]()),
		toAdvanceRequest(filled[driver.AdvanceRequest]()), toProbeResponse(filled[driver.ProbeResponse](), nil), toListRequest(filled[driver.ListRequest]()),
	} {
		data, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte{recordsField<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		require.LessOrEqual(t, convertAll(data), 19)
	})
}

// FuzzRecords takes the bytes for the field with the records, where the fuzzer of
// whole messages seldom gets.
func FuzzRecords(f *testing.F) {
	f.Add(toTransitions(filled[driver.CommitRequest]().Transitions))
	f.Add(toRecordsOf(filled[driver.MergeRequest]().Records))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, blob []byte) {
		if records, err := fromRecords(blob); err == nil {
			again, err := fromRecords(toRecordsOf(records))
			require.NoError(t, err)
			require.Equal(t, records, again)
		}
		if transitions, err := fromTransitions(blob); err == nil {
			again, err := fromTransitions(toTransitions(transitions))
			require.NoError(t, err)
			require.Equal(t, transitions, again)
		}
	})
}
