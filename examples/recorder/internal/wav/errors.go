// SPDX-License-Identifier: Apache-2.0

package wav

import (
	"errors"
	"fmt"
)

// What can be wrong with a file, for [errors.Is].
var (
	ErrNotWAV      = errors.New("not a WAV file")
	ErrTruncated   = errors.New("truncated WAV file")
	ErrMalformed   = errors.New("malformed WAV file")
	ErrUnsupported = errors.New("unsupported WAV file")
)

// Error says where in a file what is wrong.
type Error struct {
	Kind   error // ErrNotWAV, ErrTruncated, ErrMalformed or ErrUnsupported
	Offset int64 // bytes from the beginning of the file
	Detail string
}

// Error reads "truncated WAV file at byte 44: …".
func (e *Error) Error() string { return fmt.Sprintf("%v at byte %d: %s", e.Kind, e.Offset, e.Detail) }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

func fail(kind error, offset int64, format string, args ...any) error {
	return &Error{Kind: kind, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
