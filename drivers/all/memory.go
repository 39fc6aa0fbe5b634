// SPDX-License-Identifier: Apache-2.0

//go:build !custom || drivers || drivers.memory

package all

import (
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
)

func init() { driver.Register(memory.Driver()) }
