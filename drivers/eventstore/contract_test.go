// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
	"github.com/understudy-dev/understudy/plugins/wire/wiretest"
)

func TestContractDirect(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, linked(t, plain(t)))
}

func TestContractFrozen(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	h := frozen(t, server.Addresses()[0])
	for _, c := range contracttest.Cases() {
		if c.Area != "Outage" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			result := contracttest.Check(t.Context(), h, c)
			require.Equal(t, contracttest.Passed, result.Outcome, result.Output)
		})
	}
}

func TestContractDirectSecured(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, linked(t, secured(t)))
}

func TestContractWire(t *testing.T) {
	t.Parallel()
	h := linked(t, plain(t))
	open := h.Open
	h.Open = func(ct contracttest.T, chain string) (driver.Store, error) {
		store, err := open(ct, chain)
		if err != nil {
			return nil, err
		}
		return wiretest.InMemory(t, store), nil
	}
	contracttest.Run(t, h)
}

func TestContractProcess(t *testing.T) {
	t.Parallel()
	contracttest.Run(t, launched(t, secured(t)))
}
