// SPDX-License-Identifier: Apache-2.0

//go:build !custom || drivers || drivers.redis

package all

import (
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/redis"
)

func init() { driver.Register(redis.Driver()) }
