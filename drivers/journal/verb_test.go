// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

func TestVerbOfTellsEveryTransition(t *testing.T) {
	t.Parallel()
	now := time.Now()
	stamp := func(lease driver.Token) driver.Stamp {
		return driver.Stamp{Token: driver.NewToken(), Now: now, Lease: lease}
	}
	must := func(tr driver.Transition, err error) driver.Record {
		t.Helper()
		require.NoError(t, err)
		return tr.Record
	}
	start := must(driver.Start(stamp(driver.Token{}), driver.Workflow{ID: "a", Kind: "k"}))
	claim := must(driver.Claim(stamp(driver.Token{}), start, "o", now.Add(time.Minute)))
	held := stamp(claim.Lease.Token)
	save := must(driver.Save(held, claim, "one", []byte("x"), now.Add(time.Minute)))
	failed := must(driver.Fail(held, save, driver.Failure{Reason: "r"}))
	for verb, c := range map[driver.Verb]struct{ base, next driver.Record }{
		driver.VerbStart:   {driver.Record{}, start},
		driver.VerbClaim:   {start, claim},
		driver.VerbExtend:  {claim, must(driver.Extend(held, claim, now.Add(time.Hour)))},
		driver.VerbSave:    {claim, save},
		driver.VerbYield:   {save, must(driver.Yield(held, save, "two", nil, now))},
		driver.VerbWait:    {save, must(driver.Wait(held, save, "two", nil, now))},
		driver.VerbSucceed: {save, must(driver.Succeed(held, save, nil, now))},
		driver.VerbFail:    {save, must(driver.Fail(held, save, driver.Failure{Reason: "r", Retry: now}))},
		driver.VerbRelease: {claim, must(driver.Release(held, claim, now))},
		driver.VerbCancel:  {save, must(driver.Cancel(held, save, "c", now))},
		driver.VerbRequeue: {failed, must(driver.Requeue(held, failed, now))},
	} {
		require.Equal(t, verb, VerbOf(&c.base, &c.next).Name())
	}
	require.Empty(t, VerbOf(nil, &driver.Record{Revision: 2, Status: driver.Ready}).Name(), "not known without the base")
	require.Empty(t, Verb(200).Name())
}
