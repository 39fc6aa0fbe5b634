// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// undecodable is the error of a message that is not one of this protocol.
func undecodable(format string, args ...any) error {
	return &driver.Error{Class: driver.Internal, Detail: "message of the plugin protocol: " + fmt.Sprintf(format, args...)}
}

// maxCauses bounds how deep the causes of an error are carried; below, their
// text remains.
const maxCauses = 8

// toError returns err as it crosses the wire, nil for nil.
func toError(err error) *wirev1.Error { return toErrorAt(err, 0) }

func toErrorAt(err error, depth int) *wirev1.Error {
	if err == nil {
		return nil
	}
	e, isError := err.(*driver.Error) //nolint:errorlint // what wraps an Error has a text of its own, which must not be lost
	if !isError {
		out := &wirev1.Error{Class: uint32(driver.ClassOf(err))}
		if _, bare := err.(driver.Class); !bare { //nolint:errorlint // as above
			out.Cause = toCause(err, depth)
		}
		return out
	}
	out := &wirev1.Error{
		Class:  uint32(e.Class),
		Op:     []byte(e.Op),
		Store:  []byte(e.Store),
		Ids:    toTexts(e.IDs),
		Detail: []byte(e.Detail),
		Cause:  toCause(e.Cause, depth),
	}
	if e.Epoch != nil {
		out.Epoch = toEpoch(*e.Epoch)
	}
	if e.Stored != nil {
		out.Stored = driver.AppendRecord(nil, e.Stored)
	}
	return out
}

func toCause(err error, depth int) *wirev1.Cause {
	if err == nil {
		return nil
	}
	out := &wirev1.Cause{Text: []byte(err.Error())}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		out.Kind = wirev1.Cause_DEADLINE_EXCEEDED
	case errors.Is(err, context.Canceled):
		out.Kind = wirev1.Cause_CANCELED
	}
	if depth >= maxCauses {
		return out
	}
	if e, ok := errors.AsType[*driver.Error](err); ok {
		out.Error = toErrorAt(e, depth+1)
	} else if class, ok := errors.AsType[driver.Class](err); ok {
		out.Error = &wirev1.Error{Class: uint32(class)}
	}
	return out
}

// fromError restores what [toError] made. An error that cannot be restored is
// not taken for success: its class is Unknown.
func fromError(in *wirev1.Error) error { return fromErrorAt(in, 0) }

func fromErrorAt(in *wirev1.Error, depth int) error {
	if in == nil {
		return nil
	}
	out := &driver.Error{
		Class:  driver.Unknown,
		Op:     string(in.GetOp()),
		Store:  string(in.GetStore()),
		IDs:    fromTexts[string](in.GetIds()),
		Detail: string(in.GetDetail()),
		Cause:  fromCause(in.GetCause(), depth),
	}
	// A class that this side does not know may say "may have been done".
	if c := in.GetClass(); c >= uint32(driver.NotFound) && c <= uint32(driver.Internal) {
		out.Class = driver.Class(c)
	}
	if in.GetEpoch() != nil {
		epoch, err := fromEpoch(in.GetEpoch())
		if err != nil {
			return &driver.Error{Class: driver.Unknown, Cause: err}
		}
		out.Epoch = &epoch
	}
	if len(in.GetStored()) > 0 {
		stored, err := driver.DecodeRecord(in.GetStored())
		if err != nil {
			return &driver.Error{Class: driver.Unknown, Cause: err}
		}
		out.Stored = &stored
	}
	return out
}

func fromCause(in *wirev1.Cause, depth int) error {
	if in == nil {
		return nil
	}
	text := string(in.GetText())
	var wraps []error
	// An error that says no more than what it wraps is not wrapped.
	if depth < maxCauses && in.GetError() != nil {
		e := fromErrorAt(in.GetError(), depth+1)
		if e.Error() == text {
			return e
		}
		wraps = append(wraps, e)
	}
	switch in.GetKind() {
	case wirev1.Cause_DEADLINE_EXCEEDED:
		wraps = append(wraps, context.DeadlineExceeded)
	case wirev1.Cause_CANCELED:
		wraps = append(wraps, context.Canceled)
	case wirev1.Cause_OTHER:
	}
	if len(wraps) == 1 && wraps[0].Error() == text {
		return wraps[0]
	}
	return &cause{text: text, wraps: wraps}
}

// cause is an error of the far end: its text, and what of it can be asked for.
type cause struct {
	text  string
	wraps []error
}

func (c *cause) Error() string { return c.text }

func (c *cause) Unwrap() []error { return c.wraps }

// toVerdicts returns the verdicts of a batch as they cross the wire.
func toVerdicts(verdicts []driver.Verdict) *wirev1.Verdicts {
	out := &wirev1.Verdicts{Flags: make([]byte, len(verdicts))}
	for i, v := range verdicts {
		if v.Applied {
			out.Flags[i] |= verdictApplied
		}
		if v.Err != nil {
			out.Flags[i] |= verdictFailed
			out.Errors = append(out.Errors, toError(v.Err))
		}
	}
	return out
}

const (
	verdictApplied = 1 << 0
	verdictFailed  = 1 << 1
)

// fromVerdicts restores the verdicts.
func fromVerdicts(in *wirev1.Verdicts) ([]driver.Verdict, error) {
	if len(in.GetFlags()) == 0 {
		return nil, nil
	}
	failures := in.GetErrors()
	out := make([]driver.Verdict, len(in.GetFlags()))
	for i, flags := range in.GetFlags() {
		out[i].Applied = flags&verdictApplied != 0
		if flags&verdictFailed == 0 {
			continue
		}
		if len(failures) == 0 {
			return nil, undecodable("verdict %d has failed without an error", i)
		}
		out[i].Err, failures = fromError(failures[0]), failures[1:]
	}
	if len(failures) > 0 {
		return nil, undecodable("%d errors more than verdicts that failed", len(failures))
	}
	return out, nil
}
