// SPDX-License-Identifier: Apache-2.0

package redistest

import "context"

// T is what the methods of running servers need of a test; *testing.T and
// *testing.B are such. It satisfies require.TestingT.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	FailNow()
	Context() context.Context
}
