// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// buildDir holds what the tests build; empty until they do.
var buildDir string

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if buildDir != "" {
			_ = os.RemoveAll(buildDir)
		}
		os.Exit(code)
	}))
}

// memoryPlugin builds the memory driver's plugin binary once and returns its path.
var memoryPlugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chain-test-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "understudy-memory")
	cmd := exec.Command("go", "build", "-o", path, "../plugins/memory")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})
