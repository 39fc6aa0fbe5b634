// SPDX-License-Identifier: Apache-2.0

// Package faults runs three host processes on the chain redis → eventstore, under
// continuous load, and breaks what they stand on: the servers, the network, the
// plugins and the hosts themselves. Each host keeps a journal of what it was told;
// in the end the journals are held against what the stores have.
//
// A few of the tests are part of every run; "make test-faults" runs all of them,
// which the build tag faults adds.
package faults

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// roleVariable makes this binary something else than the tests.
const roleVariable = "FAULTS_ROLE"

// buildDir holds the plugins that the tests build; empty until they do.
var buildDir string

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "host":
		os.Exit(hostMain(os.Stdin, os.Stderr))
	case "eventstore":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := devserver.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if buildDir != "" {
			_ = os.RemoveAll(buildDir)
		}
		os.Exit(code)
	}))
}

// pluginFolder builds the plugins once and returns their folder.
var pluginFolder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return "", err
	}
	buildDir = dir
	for _, name := range []string{"redis", "eventstore"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "understudy-"+name), "../../plugins/"+name)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return "", err
		}
	}
	return dir, nil
})
