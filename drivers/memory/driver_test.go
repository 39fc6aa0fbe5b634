// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDriverRefusesWrongConfiguration(t *testing.T) {
	t.Parallel()
	d := memory.Driver()
	require.NoError(t, d.Validate(nil))
	require.NoError(t, d.Validate([]byte(`{"name": "a", "max_records": 5, "feed": 10}`)))
	for _, config := range []string{
		`{"nam": "a"}`, `{"name": 5}`, `{"name": "Über"}`, `{"max_records": -1}`, `{"feed": -1}`, `{"feed": 1.5}`, `[]`, `{`,
	} {
		require.ErrorIs(t, d.Validate([]byte(config)), driver.Invalid, config)
	}
}
