// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// TestTakeOverEndsWithTheEpoch: when another host was faster, there is nothing
// to try again; without a pause between the tries it would be millions of them.
func TestTakeOverEndsWithTheEpoch(t *testing.T) {
	t.Parallel()
	a, b := contracttest.NewModel(nil).Connect(), contracttest.NewModel(nil).Connect()
	c, err := Open(t.Context(), Config{Name: "test", Links: []Link{{Name: "a", Store: a}, {Name: "b", Store: b}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(context.WithoutCancel(t.Context()))) }()
	over := *c.view.Load()
	ctx, end := context.WithCancelCause(over.ctx)
	over.ctx = ctx
	end(errMoved)
	var tries atomic.Int64
	l := &link{name: "b", store: &advances{b, &tries}}
	next := driver.Epoch{Number: 9, Version: 1, Token: driver.NewToken(), Active: "b"}
	require.ErrorIs(t, c.takeOver(&over, l, over.epoch.At(), next, false), errMoved)
	require.LessOrEqual(t, tries.Load(), int64(1))
}

// advances counts the calls of Advance, which fail.
type advances struct {
	driver.Store
	n *atomic.Int64
}

func (a *advances) Advance(context.Context, driver.AdvanceRequest) (driver.AdvanceResponse, error) {
	a.n.Add(1)
	return driver.AdvanceResponse{}, driver.Unavailable
}
