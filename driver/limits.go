// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of the contract: what every store must accept. A value beyond one is
// refused with [TooLarge] or [Invalid] before anything is applied.
const (
	MaxRecordBytes  = 256 << 10 // encoded size of one record
	MaxBatch        = 256       // records or ids of one call
	MaxBatchBytes   = 8 << 20   // encoded size of all records of one call together
	MaxIDBytes      = 256       // 1–256 bytes of printable UTF-8
	MaxKindBytes    = 64        // 1–64 bytes of printable UTF-8
	MaxOwnerBytes   = 256       // 1–256 bytes of printable UTF-8
	MaxStepBytes    = 256       // 0–256 bytes of printable UTF-8
	MaxFailureBytes = 4096      // 0–4096 bytes of valid UTF-8
	MaxLabels       = 32        // labels of one record
	MaxLabelKey     = 64        // 1–64 bytes of printable UTF-8
	MaxLabelValue   = 256       // 0–256 bytes of valid UTF-8
	MaxKinds        = 64        // kinds of one Claim or List
	MaxLease        = 24 * time.Hour
)

// Validate reports the first rule of the contract that r breaks, as an [Invalid]
// or [TooLarge] error that names the field, the size of the value and the limit;
// nil if r may be stored. It does not change r.
func (r *Record) Validate() error {
	if err := r.validateText(); err != nil {
		return err
	}
	if err := r.validateState(); err != nil {
		return err
	}
	if n := EncodedSize(r); n > MaxRecordBytes {
		return tooLarge("record", n, MaxRecordBytes)
	}
	return nil
}

func (r *Record) validateText() error {
	if err := validateText("id", r.ID, 1, MaxIDBytes, true); err != nil {
		return err
	}
	if err := ValidateKind(r.Kind); err != nil {
		return err
	}
	if err := validateText("step", r.Step, 0, MaxStepBytes, true); err != nil {
		return err
	}
	if err := validateText("failure", r.Failure, 0, MaxFailureBytes, false); err != nil {
		return err
	}
	if len(r.Labels) > MaxLabels {
		return tooLargeIn("labels", len(r.Labels), MaxLabels, "entries")
	}
	for _, k := range sortedLabels(r.Labels) {
		if err := validateText("label key", k, 1, MaxLabelKey, true); err != nil {
			return err
		}
		if err := validateText(fmt.Sprintf("label %q", k), r.Labels[k], 0, MaxLabelValue, false); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) validateState() error {
	switch {
	case r.Revision == 0:
		return invalid("revision is 0: the first revision of a record is 1")
	case r.Token.IsZero():
		return invalid("token is zero: each transition needs a random token")
	case r.Status == Absent || r.Status > Held:
		return invalid("status is %s: want one of ready … held", r.Status)
	case r.Created.IsZero():
		return invalid("created is not set")
	case r.Updated.IsZero():
		return invalid("updated is not set")
	case r.Status == Leased && (r.Lease.Token.IsZero() || r.Due.IsZero()):
		return invalid("status is leased without a lease token and an end of the lease in due")
	case r.Status != Leased && r.Lease != Lease{}:
		return invalid("status is %s with a lease: only leased records have one", r.Status)
	case (r.Status.Finished() || r.Status == Held) && !r.Due.IsZero():
		return invalid("status is %s with a due time: such records are never claimable", r.Status)
	case r.Status == Ready && r.Due.IsZero():
		return invalid("status is ready without a due time: it could never be claimed")
	case !r.Status.Finished() && !r.Expires.IsZero():
		return invalid("status is %s with an expiry: only finished records expire", r.Status)
	}
	if r.Status == Leased {
		if err := validateText("lease owner", r.Lease.Owner, 1, MaxOwnerBytes, true); err != nil {
			return err
		}
	}
	for _, f := range [...]struct {
		name string
		t    time.Time
	}{{"due", r.Due}, {"created", r.Created}, {"updated", r.Updated}, {"expires", r.Expires}} {
		if err := validateTime(f.name, f.t); err != nil {
			return err
		}
	}
	return nil
}

// maxTime is the first instant a record cannot hold.
var maxTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

func validateTime(field string, t time.Time) error {
	switch {
	case t.IsZero():
		return nil
	case t.UnixMilli() <= 0 || !t.Before(maxTime):
		return invalid("%s is %s: want a time after 1970 and before the year 10000", field, t.UTC().Format(time.RFC3339Nano))
	case t.Nanosecond()%int(time.Millisecond) != 0:
		return invalid("%s is %s: want whole milliseconds", field, t.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// ValidateID reports why id cannot be the id of a workflow, as an [Invalid] or
// [TooLarge] error; nil if it can.
func ValidateID(id string) error { return validateText("id", id, 1, MaxIDBytes, true) }

// ValidateKind reports why kind cannot be the kind of a workflow, as an
// [Invalid] or [TooLarge] error; nil if it can.
func ValidateKind(kind string) error { return validateText("kind", kind, 1, MaxKindBytes, true) }

// ValidateName reports why name cannot be the name of a chain or a link, as an
// [Invalid] error; nil if it can: 1–64 of a–z, 0–9, '-', '_' and '.', beginning
// with a letter or digit.
func ValidateName(what, name string) error {
	const first, rest = "abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz0123456789-_."
	if name == "" || len(name) > 64 || !strings.Contains(first, name[:1]) || strings.Trim(name, rest) != "" {
		return invalid("%s %q: want 1–64 of a–z, 0–9, '-', '_', '.', beginning with a letter or digit", what, name)
	}
	return nil
}

func validateText(field, s string, least, most int, printable bool) error {
	switch {
	case len(s) < least:
		return invalid("%s is empty: want %d–%d bytes", field, least, most)
	case len(s) > most:
		return tooLarge(field, len(s), most)
	case isASCII(s):
	case !utf8.ValidString(s):
		return invalid("%s %q is not valid UTF-8", field, s)
	case printable && strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("%s %q holds characters that cannot be printed", field, s)
	}
	return nil
}

// isASCII reports whether s consists of printable ASCII characters, as most texts
// do: then nothing else need be looked at.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func invalid(format string, args ...any) error {
	return &Error{Class: Invalid, Detail: fmt.Sprintf(format, args...)}
}

func tooLarge(field string, size, limit int) error { return tooLargeIn(field, size, limit, "bytes") }

func tooLargeIn(field string, size, limit int, unit string) error {
	return &Error{Class: TooLarge, Detail: fmt.Sprintf("%s has %d %s: the limit is %d", field, size, unit, limit)}
}
