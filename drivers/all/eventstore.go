// SPDX-License-Identifier: Apache-2.0

//go:build !custom || drivers || drivers.eventstore

package all

import (
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
)

func init() { driver.Register(eventstore.Driver()) }
