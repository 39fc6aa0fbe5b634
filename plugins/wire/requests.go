// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"time"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

func toCommitRequest(r driver.CommitRequest) *wirev1.CommitRequest {
	return &wirev1.CommitRequest{
		Guard:       toGuard(r.Guard),
		Transitions: toTransitions(r.Transitions),
		Instants:    toInstants(len(r.Transitions), func(i int) *driver.Record { return &r.Transitions[i].Record }),
	}
}

func fromCommitRequest(in *wirev1.CommitRequest) (driver.CommitRequest, error) {
	transitions, err := fromTransitions(in.GetTransitions())
	if err != nil {
		return driver.CommitRequest{}, err
	}
	err = restoreInstants(in.GetInstants(), len(transitions), func(i int) *driver.Record { return &transitions[i].Record })
	return driver.CommitRequest{Guard: fromGuard(in.GetGuard()), Transitions: transitions}, err
}

func toMergeRequest(r driver.MergeRequest) *wirev1.MergeRequest {
	record := func(i int) *driver.Record { return &r.Records[i] }
	return &wirev1.MergeRequest{
		Guard:    toGuard(r.Guard),
		Records:  toRecords(len(r.Records), record),
		Instants: toInstants(len(r.Records), record),
	}
}

func fromMergeRequest(in *wirev1.MergeRequest) (driver.MergeRequest, error) {
	records, err := fromRecords(in.GetRecords())
	if err != nil {
		return driver.MergeRequest{}, err
	}
	err = restoreInstants(in.GetInstants(), len(records), func(i int) *driver.Record { return &records[i] })
	return driver.MergeRequest{Guard: fromGuard(in.GetGuard()), Records: records}, err
}

func toClaimRequest(r driver.ClaimRequest) *wirev1.ClaimRequest {
	return &wirev1.ClaimRequest{
		Guard: toGuard(r.Guard),
		Owner: []byte(r.Owner),
		Token: toToken(r.Token),
		Kinds: toTexts(r.Kinds),
		Limit: int64(r.Limit),
		Lease: int64(r.Lease),
	}
}

func fromClaimRequest(in *wirev1.ClaimRequest) (driver.ClaimRequest, error) {
	token, err := fromToken(in.GetToken())
	return driver.ClaimRequest{
		Guard: fromGuard(in.GetGuard()),
		Owner: string(in.GetOwner()),
		Token: token,
		Kinds: fromTexts[string](in.GetKinds()),
		Limit: int(in.GetLimit()),
		Lease: time.Duration(in.GetLease()),
	}, err
}

func toGetRequest(r driver.GetRequest) *wirev1.GetRequest {
	return &wirev1.GetRequest{Seen: toMarks(r.Seen), Ids: toTexts(r.IDs)}
}

func fromGetRequest(in *wirev1.GetRequest) (driver.GetRequest, error) {
	return driver.GetRequest{Seen: fromMarks(in.GetSeen()), IDs: fromTexts[string](in.GetIds())}, nil
}

func toListRequest(r driver.ListRequest) *wirev1.ListRequest {
	return &wirev1.ListRequest{
		Seen:     toMarks(r.Seen),
		Kinds:    toTexts(r.Kinds),
		Statuses: toStatuses(r.Statuses),
		Cursor:   []byte(r.Cursor),
		Limit:    int64(r.Limit),
	}
}

func fromListRequest(in *wirev1.ListRequest) (driver.ListRequest, error) {
	return driver.ListRequest{
		Seen:     fromMarks(in.GetSeen()),
		Kinds:    fromTexts[string](in.GetKinds()),
		Statuses: fromStatuses(in.GetStatuses()),
		Cursor:   string(in.GetCursor()),
		Limit:    int(in.GetLimit()),
	}, nil
}

func toChangesRequest(r driver.ChangesRequest) *wirev1.ChangesRequest {
	return &wirev1.ChangesRequest{Seen: toMarks(r.Seen), Cursor: []byte(r.Cursor), Records: r.Records, ToEnd: r.ToEnd}
}

func fromChangesRequest(in *wirev1.ChangesRequest) (driver.ChangesRequest, error) {
	return driver.ChangesRequest{Seen: fromMarks(in.GetSeen()), Cursor: string(in.GetCursor()), Records: in.GetRecords(), ToEnd: in.GetToEnd()}, nil
}

func toEpochRequest(driver.EpochRequest) *wirev1.EpochRequest { return &wirev1.EpochRequest{} }

func fromEpochRequest(*wirev1.EpochRequest) (driver.EpochRequest, error) {
	return driver.EpochRequest{}, nil
}

func toAdvanceRequest(r driver.AdvanceRequest) *wirev1.AdvanceRequest {
	return &wirev1.AdvanceRequest{
		Seen:   toMarks(r.Seen),
		Expect: &wirev1.EpochVersion{Number: r.Expect.Number, Version: r.Expect.Version},
		Next:   toEpoch(r.Next),
	}
}

func fromAdvanceRequest(in *wirev1.AdvanceRequest) (driver.AdvanceRequest, error) {
	next, err := fromEpoch(in.GetNext())
	return driver.AdvanceRequest{
		Seen:   fromMarks(in.GetSeen()),
		Expect: driver.EpochVersion{Number: in.GetExpect().GetNumber(), Version: in.GetExpect().GetVersion()},
		Next:   next,
	}, err
}

func toDescribeRequest(driver.DescribeRequest) *wirev1.DescribeRequest {
	return &wirev1.DescribeRequest{}
}

func fromDescribeRequest(*wirev1.DescribeRequest) (driver.DescribeRequest, error) {
	return driver.DescribeRequest{}, nil
}

func toProbeRequest(r driver.ProbeRequest) *wirev1.ProbeRequest {
	return &wirev1.ProbeRequest{Seen: toMarks(r.Seen)}
}

func fromProbeRequest(in *wirev1.ProbeRequest) (driver.ProbeRequest, error) {
	return driver.ProbeRequest{Seen: fromMarks(in.GetSeen())}, nil
}
