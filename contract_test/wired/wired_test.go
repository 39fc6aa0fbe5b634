// SPDX-License-Identifier: Apache-2.0

package wired_test

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/contract_test/wired"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shared gives the stores of a chain their data in common.
func shared(string) json.RawMessage { return json.RawMessage(`{"name": "wired"}`) }

func TestMemoryPasses(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, contracttest.Harness{
		Open:         wired.Open(contracttest.Linked(memory.Driver(), shared)),
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
	})
}
