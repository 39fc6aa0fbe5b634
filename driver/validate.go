// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"time"
)

// The methods here are the checks of requests that every store makes, so that all
// refuse the same with the same words. Each returns nil, or an [Invalid] or
// [TooLarge] error that names the field, the value and the limit.

// Validate checks the batch as a whole; each transition is checked by
// [CommitRequest.ValidateAt].
func (r *CommitRequest) Validate() error {
	size := 0
	for i := range r.Transitions {
		size += EncodedSize(&r.Transitions[i].Record)
	}
	return validateBatch("transitions", len(r.Transitions), size)
}

// ValidateAt checks transition i, which gets the error as its verdict.
func (r *CommitRequest) ValidateAt(i int) error {
	t := &r.Transitions[i]
	if t.Record.Epoch != r.Epoch {
		return invalid("record is of epoch %d in a commit of epoch %d", t.Record.Epoch, r.Epoch)
	}
	return t.Validate()
}

// Validate checks the batch as a whole; each record is checked by
// [MergeRequest.ValidateAt].
func (r *MergeRequest) Validate() error {
	size := 0
	for i := range r.Records {
		size += EncodedSize(&r.Records[i])
	}
	return validateBatch("records", len(r.Records), size)
}

// ValidateAt checks record i, which gets the error as its verdict.
func (r *MergeRequest) ValidateAt(i int) error {
	if rec := &r.Records[i]; rec.Epoch > r.Epoch {
		return invalid("record is of epoch %d in a merge of epoch %d", rec.Epoch, r.Epoch)
	}
	return r.Records[i].Validate()
}

// Validate checks the request.
func (r *ClaimRequest) Validate() error {
	switch {
	case r.Token.IsZero():
		return invalid("token is zero: each claim needs a random token")
	case len(r.Kinds) == 0:
		return invalid("kinds is empty: want 1–%d kinds", MaxKinds)
	case r.Lease < time.Millisecond || r.Lease > MaxLease || r.Lease%time.Millisecond != 0:
		return invalid("lease is %s: want whole milliseconds from 1ms to %s", r.Lease, MaxLease)
	}
	if err := validateText("owner", r.Owner, 1, MaxOwnerBytes, true); err != nil {
		return err
	}
	if err := validateLimit(r.Limit); err != nil {
		return err
	}
	return validateKinds(r.Kinds)
}

// Validate checks the request.
func (r *GetRequest) Validate() error {
	if len(r.IDs) == 0 {
		return invalid("ids is empty: want 1–%d ids", MaxBatch)
	}
	if len(r.IDs) > MaxBatch {
		return tooLargeIn("ids", len(r.IDs), MaxBatch, "entries")
	}
	for _, id := range r.IDs {
		if err := ValidateID(id); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the request, its cursor excepted.
func (r *ListRequest) Validate() error {
	if err := validateLimit(r.Limit); err != nil {
		return err
	}
	for _, s := range r.Statuses {
		if s == Absent || s > Held {
			return invalid("status is %s: want one of ready … held", s)
		}
	}
	return validateKinds(r.Kinds)
}

func validateBatch(what string, n, size int) error {
	if n > MaxBatch {
		return tooLargeIn(what, n, MaxBatch, "entries")
	}
	if size > MaxBatchBytes {
		return tooLarge(what, size, MaxBatchBytes)
	}
	return nil
}

func validateLimit(limit int) error {
	if limit < 1 || limit > MaxBatch {
		return invalid("limit is %d: want 1–%d", limit, MaxBatch)
	}
	return nil
}

func validateKinds(kinds []string) error {
	if len(kinds) > MaxKinds {
		return tooLargeIn("kinds", len(kinds), MaxKinds, "entries")
	}
	for i, kind := range kinds {
		if err := ValidateKind(kind); err != nil {
			return In(err, "", fmt.Sprintf("kinds[%d]", i))
		}
	}
	return nil
}
