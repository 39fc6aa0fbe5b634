// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package plugins

import (
	"os"
	"os/exec"
	"sync"

	"github.com/understudy-dev/understudy/driver"
)

var errNotLinux = &driver.Error{Class: driver.Unsupported, Detail: "hosts of plugins run on Linux only; link the driver into the program instead"}

func runProcess(*exec.Cmd, sync.Locker, func(*os.ProcessState)) error { return errNotLinux }

func readNow(*os.File, []byte) int { return 0 }

func killGroup(int) error { return errNotLinux }

func terminate(int) error { return errNotLinux }

type socketDir struct{ path string }

func newSocketDir() (*socketDir, error) { return nil, errNotLinux }

func (*socketDir) remove() error { return nil }

func privateGroup(os.FileInfo) bool { return false }
