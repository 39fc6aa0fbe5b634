// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package plugins

import (
	"io"
	"log/slog"
	"os/exec"

	"github.com/understudy-dev/understudy/plugins/wire"
)

func giveLane(*exec.Cmd) (io.ReadWriteCloser, error) { return nil, errNotLinux }

// serveLane does nothing: hosts, which give lanes, run on Linux only.
func serveLane(*wire.Server, *slog.Logger) {}
