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

var (
	buildOnce sync.Once
	buildDir  string
	errBuild  error
)

// plugin builds the plugins once and returns the path of one.
func plugin(b *testing.B, product string) string {
	b.Helper()
	buildOnce.Do(func() {
		if buildDir, errBuild = os.MkdirTemp("", "understudy-bench-*"); errBuild == nil {
			errBuild = exec.Command("go", "build", "-o", buildDir+string(filepath.Separator), "../../plugins/redis", "../../plugins/eventstore").Run()
		}
	})
	require.NoError(b, errBuild)
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
