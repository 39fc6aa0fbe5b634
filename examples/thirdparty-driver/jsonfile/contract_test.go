// SPDX-License-Identifier: Apache-2.0

package jsonfile_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"example.com/understudy-jsonfile/jsonfile"
	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/contract_test/process"
	"github.com/understudy-dev/understudy/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract checks the driver linked into the test.
func TestContract(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, contracttest.Harness{
		Open:         contracttest.Linked(jsonfile.Driver(), section(t)),
		Capabilities: []driver.Capability{driver.CapDurable},
		Kill:         closeStore,
	})
}

// TestContractInAProcess checks it as hosts run it.
func TestContractInAProcess(t *testing.T) {
	t.Parallel()
	plugin := process.Plugin{Path: build(t), Config: section(t)}
	contracttest.Run(t, contracttest.Harness{
		Open:         plugin.Open,
		Capabilities: []driver.Capability{driver.CapDurable},
		Kill:         process.Kill,
	})
}

// build builds the plugin.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "understudy-jsonfile")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "..").CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return path
}

// section is the driver's section of the configuration.
func section(t *testing.T) func(chain string) json.RawMessage {
	t.Helper()
	directory := t.TempDir()
	return func(string) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"directory": %q}`, directory)) }
}

// closeStore stands in for a kill where there is no process of its own.
func closeStore(t contracttest.T, s driver.Store) {
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}
