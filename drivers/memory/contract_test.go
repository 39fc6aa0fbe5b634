// SPDX-License-Identifier: Apache-2.0

package memory_test

import (
	"encoding/json"
	"fmt"
	"testing"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
)

// shared gives the stores of a chain their data in common.
func shared(string) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"name": %q}`, "contract")) }

func TestContract(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, contracttest.Harness{
		Open:         contracttest.Linked(memory.Driver(), shared),
		Capabilities: []driver.Capability{driver.CapChanges, driver.CapShared},
	})
}
