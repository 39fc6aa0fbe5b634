// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"testing"

	"github.com/understudy-dev/understudy/drivers/memory"
)

func BenchmarkModel(b *testing.B) { Benchmark(b, modelHarness(false, asItIs)) }

func BenchmarkMemory(b *testing.B) {
	h := modelHarness(false, asItIs)
	h.Open = Linked(memory.Driver(), nil)
	Benchmark(b, h)
}
