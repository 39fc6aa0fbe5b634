// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// buildDir holds the plugins; empty until they are built.
var buildDir string

// buildPlugins builds the plugins once.
var buildPlugins = sync.OnceValue(func() (err error) {
	if buildDir, err = os.MkdirTemp("", "understudy-bench-*"); err != nil {
		return err
	}
	return exec.Command("go", "build", "-o", buildDir+string(filepath.Separator), "../../plugins/redis", "../../plugins/eventstore").Run()
})

// plugin returns the path of a plugin.
func plugin(b *testing.B, product string) string {
	b.Helper()
	require.NoError(b, buildPlugins())
	return filepath.Join(buildDir, product)
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if buildDir != "" {
			_ = os.RemoveAll(buildDir)
		}
		os.Exit(code)
	}))
}
