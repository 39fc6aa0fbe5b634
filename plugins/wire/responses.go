// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

func toCommitResponse(r driver.CommitResponse, err *wirev1.Error) *wirev1.CommitResponse {
	return &wirev1.CommitResponse{Receipt: toReceipt(r.Receipt), Verdicts: toVerdicts(r.Verdicts), Error: err}
}

func fromCommitResponse(in *wirev1.CommitResponse) (driver.CommitResponse, error) {
	verdicts, err := fromVerdicts(in.GetVerdicts())
	return driver.CommitResponse{Receipt: fromReceipt(in.GetReceipt()), Verdicts: verdicts}, err
}

func toMergeResponse(r driver.MergeResponse, err *wirev1.Error) *wirev1.MergeResponse {
	return &wirev1.MergeResponse{Receipt: toReceipt(r.Receipt), Verdicts: toVerdicts(r.Verdicts), Error: err}
}

func fromMergeResponse(in *wirev1.MergeResponse) (driver.MergeResponse, error) {
	verdicts, err := fromVerdicts(in.GetVerdicts())
	return driver.MergeResponse{Receipt: fromReceipt(in.GetReceipt()), Verdicts: verdicts}, err
}

// toRecordsOf encodes the records of an answer.
func toRecordsOf(records []driver.Record) []byte {
	return toRecords(len(records), func(i int) *driver.Record { return &records[i] })
}

func toClaimResponse(r driver.ClaimResponse, err *wirev1.Error) *wirev1.ClaimResponse {
	return &wirev1.ClaimResponse{Receipt: toReceipt(r.Receipt), Records: toRecordsOf(r.Records), Next: toTime(r.Next), Error: err}
}

func fromClaimResponse(in *wirev1.ClaimResponse) (driver.ClaimResponse, error) {
	records, err := fromRecords(in.GetRecords())
	return driver.ClaimResponse{Receipt: fromReceipt(in.GetReceipt()), Records: records, Next: fromTime(in.GetNext())}, err
}

func toGetResponse(r driver.GetResponse, err *wirev1.Error) *wirev1.GetResponse {
	return &wirev1.GetResponse{Receipt: toReceipt(r.Receipt), Records: toRecordsOf(r.Records), Error: err}
}

func fromGetResponse(in *wirev1.GetResponse) (driver.GetResponse, error) {
	records, err := fromRecords(in.GetRecords())
	return driver.GetResponse{Receipt: fromReceipt(in.GetReceipt()), Records: records}, err
}

func toListResponse(r driver.ListResponse, err *wirev1.Error) *wirev1.ListResponse {
	return &wirev1.ListResponse{Receipt: toReceipt(r.Receipt), Records: toRecordsOf(r.Records), Next: []byte(r.Next), Error: err}
}

func fromListResponse(in *wirev1.ListResponse) (driver.ListResponse, error) {
	records, err := fromRecords(in.GetRecords())
	return driver.ListResponse{Receipt: fromReceipt(in.GetReceipt()), Records: records, Next: string(in.GetNext())}, err
}

func toChangesResponse(b driver.ChangeBatch) *wirev1.ChangesResponse {
	out := &wirev1.ChangesResponse{Receipt: toReceipt(b.Receipt), Cursor: []byte(b.Cursor)}
	var records []*driver.Record
	for i := range b.Changes {
		c := &b.Changes[i]
		out.Changes = append(out.Changes, &wirev1.Change{
			Id:       []byte(c.ID),
			Kind:     []byte(c.Kind),
			Revision: c.Revision,
			Epoch:    c.Epoch,
			Status:   uint32(c.Status),
			Due:      toTime(c.Due),
			Record:   c.Record != nil,
		})
		if c.Record != nil {
			records = append(records, c.Record)
		}
	}
	out.Records = toRecords(len(records), func(i int) *driver.Record { return records[i] })
	return out
}

func fromChangesResponse(in *wirev1.ChangesResponse) (driver.ChangeBatch, error) {
	records, err := fromRecords(in.GetRecords())
	if err != nil {
		return driver.ChangeBatch{}, err
	}
	out := driver.ChangeBatch{Receipt: fromReceipt(in.GetReceipt()), Cursor: string(in.GetCursor())}
	for _, c := range in.GetChanges() {
		status, err := fromByte[driver.Status]("status of a change", c.GetStatus())
		if err != nil {
			return driver.ChangeBatch{}, err
		}
		change := driver.Change{
			ID:       string(c.GetId()),
			Kind:     string(c.GetKind()),
			Revision: c.GetRevision(),
			Epoch:    c.GetEpoch(),
			Status:   status,
			Due:      fromTime(c.GetDue()),
		}
		if c.GetRecord() {
			if len(records) == 0 {
				return driver.ChangeBatch{}, undecodable("fewer records than changes that have one")
			}
			change.Record, records = &records[0], records[1:]
		}
		out.Changes = append(out.Changes, change)
	}
	if len(records) > 0 {
		return driver.ChangeBatch{}, undecodable("%d records more than changes that have one", len(records))
	}
	return out, nil
}

func toEpochResponse(r driver.EpochResponse, err *wirev1.Error) *wirev1.EpochResponse {
	return &wirev1.EpochResponse{Receipt: toReceipt(r.Receipt), Epoch: toEpoch(r.Epoch), Error: err}
}

func fromEpochResponse(in *wirev1.EpochResponse) (driver.EpochResponse, error) {
	epoch, err := fromEpoch(in.GetEpoch())
	return driver.EpochResponse{Receipt: fromReceipt(in.GetReceipt()), Epoch: epoch}, err
}

func toAdvanceResponse(r driver.AdvanceResponse, err *wirev1.Error) *wirev1.AdvanceResponse {
	return &wirev1.AdvanceResponse{Receipt: toReceipt(r.Receipt), Epoch: toEpoch(r.Epoch), Error: err}
}

func fromAdvanceResponse(in *wirev1.AdvanceResponse) (driver.AdvanceResponse, error) {
	epoch, err := fromEpoch(in.GetEpoch())
	return driver.AdvanceResponse{Receipt: fromReceipt(in.GetReceipt()), Epoch: epoch}, err
}

func toDescribeResponse(r driver.DescribeResponse, err *wirev1.Error) *wirev1.DescribeResponse {
	return &wirev1.DescribeResponse{
		Driver:       []byte(r.Driver),
		Version:      []byte(r.Version),
		Contract:     int64(r.Contract),
		Capabilities: toTexts(r.Capabilities),
		Protection:   uint32(r.Protection),
		Details:      toDetails(r.Details),
		Error:        err,
	}
}

func fromDescribeResponse(in *wirev1.DescribeResponse) (driver.DescribeResponse, error) {
	protection, err := fromByte[driver.Protection]("protection", in.GetProtection())
	return driver.DescribeResponse{
		Driver:       string(in.GetDriver()),
		Version:      string(in.GetVersion()),
		Contract:     int(in.GetContract()),
		Capabilities: fromTexts[driver.Capability](in.GetCapabilities()),
		Protection:   protection,
		Details:      fromDetails(in.GetDetails()),
	}, err
}

func toProbeResponse(r driver.ProbeResponse, err *wirev1.Error) *wirev1.ProbeResponse {
	return &wirev1.ProbeResponse{
		Receipt:     toReceipt(r.Receipt),
		Problems:    toProblems(r.Problems),
		Warnings:    toProblems(r.Warnings),
		Role:        []byte(r.Role),
		Generation:  []byte(r.Generation),
		Durability:  []byte(r.Durability),
		Records:     r.Records,
		UsedBytes:   r.UsedBytes,
		LimitBytes:  r.LimitBytes,
		ReplayDone:  r.ReplayDone,
		ReplayTotal: r.ReplayTotal,
		Details:     toDetails(r.Details),
		Error:       err,
	}
}

func fromProbeResponse(in *wirev1.ProbeResponse) (driver.ProbeResponse, error) {
	return driver.ProbeResponse{
		Receipt:     fromReceipt(in.GetReceipt()),
		Problems:    fromProblems(in.GetProblems()),
		Warnings:    fromProblems(in.GetWarnings()),
		Role:        string(in.GetRole()),
		Generation:  string(in.GetGeneration()),
		Durability:  string(in.GetDurability()),
		Records:     in.GetRecords(),
		UsedBytes:   in.GetUsedBytes(),
		LimitBytes:  in.GetLimitBytes(),
		ReplayDone:  in.GetReplayDone(),
		ReplayTotal: in.GetReplayTotal(),
		Details:     fromDetails(in.GetDetails()),
	}, nil
}
