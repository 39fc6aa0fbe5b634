// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// degraded is a chain that opens whatever state its drivers are in.
func degraded(stores ...*faulty) chain.Config {
	config := configOf(stores...)
	config.StartDegraded = true
	return config
}

// usedStores returns two stores that a chain has been kept in.
func usedStores(t *testing.T) []*faulty {
	t.Helper()
	first := openN(t, 2)
	first.start(t, "w")
	require.NoError(t, first.Close(t.Context()))
	return others(first.stores)
}

var errNoProcess = &driver.Error{Class: driver.Unavailable, Detail: "no process yet"}

// The driver of a standby cannot be started: the chain works without it, and takes
// it in when it can.
func TestOpenWithoutTheDriverOfAStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := usedStores(t)
		stores[1].describes(errNoProcess, nil)
		_, err := chain.Open(t.Context(), configOf(stores...))
		require.ErrorIs(t, err, driver.Unavailable, "as before, without start_degraded")

		began := time.Now()
		b := open(t, degraded(stores...))
		require.InDelta(t, 10, time.Since(began).Seconds(), 1.3, "the time of Policy.Timeout, once, less a pause of up to 1.25 s")
		o := b.Status()
		require.Empty(t, o.Links[1].Driver)
		require.Empty(t, o.Links[1].Protection)
		require.Contains(t, o.Links[1].Evidence.Text, "no process yet")
		require.Len(t, b.logs.FilterMessageSnippet("a driver cannot be started").All(), 1)
		b.start(t, "x")
		within(t, 10*time.Second, "the link is told to be down", func() bool { return len(eventsOf[chain.LinkDown](b)) == 1 })
		require.Contains(t, eventsOf[chain.LinkDown](b)[0].Cause.Error(), "no process yet")
		require.Equal(t, chain.LinkIsDown, b.Status().Links[1].State)

		stores[1].describes(nil, nil)
		within(t, time.Minute, "the link is in step", func() bool { return b.Status().Links[1].State == chain.LinkInSync })
		require.NotEmpty(t, b.Status().Links[1].Driver)
		require.Equal(t, "local", b.Status().Links[1].Protection)
		require.NotNil(t, stores[1].held(t, "x"), "brought by the resync")
		require.Len(t, b.logs.FilterMessageSnippet("the driver has been started").All(), 1)
	})
}

// That of the active link: the chain fails over, and back when it is there.
func TestOpenWithoutTheDriverOfTheActiveLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := usedStores(t)
		stores[0].describes(errNoProcess, nil)
		b := open(t, degraded(stores...))
		require.Equal(t, movedEpoch, b.start(t, "x").Epoch)
		within(t, time.Second, "the failover is told", func() bool { return len(eventsOf[chain.FailedOver](b)) == 1 })
		require.Contains(t, eventsOf[chain.FailedOver](b)[0].Cause.Error(), "no process yet")
		stores[0].describes(nil, nil)
		within(t, 5*time.Minute, "the chain is back in the first link", func() bool { return b.Status().Epoch.Active == "a" })
		require.NotNil(t, stores[0].held(t, "x"))
	})
}

// A chain that has never been used begins when the last driver is there.
func TestNewChainOpensWithoutADriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		stores[1].describes(errNoProcess, nil)
		b := open(t, degraded(stores...))
		require.Equal(t, chain.Down, b.Status().Condition)
		done := make(chan driver.Record, 1)
		b.startAsync(t, "w", done)
		time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
		require.Empty(t, done)
		require.Len(t, eventsOf[chain.AllDown](b), 1)
		stores[1].describes(nil, nil)
		<-done
		within(t, time.Minute, "both links", func() bool { return stores[1].held(t, "w") != nil && b.Status().Protected })
		require.Len(t, eventsOf[chain.Recovered](b), 1)
	})
}

// A driver that hangs holds Open up for Policy.Timeout, and is not called again
// before it has returned.
func TestOpenWithADriverThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(1)
		first := open(t, configOf(stores...))
		first.start(t, "w")
		end := make(chan struct{})
		var calls atomic.Int64
		hung := newFaulty(nil)
		hung.describes(nil, func(*driver.DescribeResponse) { calls.Add(1); <-end })
		began := time.Now()
		b := open(t, degraded(stores[0].another(), hung))
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.5)
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the clock of the bubble
		require.Equal(t, int64(2), calls.Load())
		close(end)
		within(t, time.Minute, "the link is in step", func() bool { return b.Status().Links[1].State == chain.LinkInSync })
	})
}

// What another attempt would not mend is refused at once.
func TestOpenDegradedRefusesMistakes(t *testing.T) {
	t.Parallel()
	binary, err := memoryPlugin()
	require.NoError(t, err)
	odd := newFaulty(nil)
	odd.describes(nil, func(d *driver.DescribeResponse) { d.Contract = 99 })
	refusing := newFaulty(nil)
	refusing.describes(&driver.Error{Class: driver.Invalid, Detail: "address is empty"}, nil)
	for name, tc := range map[string]struct {
		link chain.Link
		want string
	}{
		"Missing":  {chain.Link{Name: "b", Plugin: binary + "-missing"}, "does not exist"},
		"Checksum": {chain.Link{Name: "b", Plugin: binary, SHA256: "00000000000000000000000000000000000000000000000000000000000000ff"}, "sha256"},
		"Config":   {chain.Link{Name: "b", Plugin: binary, Config: []byte(`{"no such key": 1}`)}, "no such key"},
		"Driver":   {chain.Link{Name: "b", Driver: "nosuch"}, "nosuch"},
		"Contract": {chain.Link{Name: "b", Store: odd}, "contract 99"},
		"Refusal":  {chain.Link{Name: "b", Store: refusing}, "address is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := degraded(newFaulty(nil))
			config.Links = append(config.Links, tc.link)
			_, err := chain.Open(t.Context(), config)
			require.ErrorContains(t, err, tc.want)
			require.Contains(t, []driver.Class{driver.Invalid, driver.Unsupported}, driver.ClassOf(err))
		})
	}
}

// What nobody has compared with the first link must not be in plain text.
func TestOpenInPlainTextWithoutTheFirstDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		stores[0].describes(errNoProcess, nil)
		stores[1].describes(nil, func(d *driver.DescribeResponse) { d.Protection = driver.Plain })
		config := degraded(stores...)
		_, err := chain.Open(t.Context(), config)
		require.ErrorIs(t, err, driver.Invalid)
		require.ErrorContains(t, err, `b: open: invalid: its connections are plain text, and the driver of "a" has not said how its own are protected`)
		config.AllowWeaker = []string{"b"}
		open(t, config)
	})
}

// A mistake that shows only when the driver answers keeps its link down.
func TestLateDriverThatDoesNotSuit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		late int
		make func(*driver.DescribeResponse)
		want string
	}{
		"Contract":   {1, func(d *driver.DescribeResponse) { d.Contract = 99 }, "contract 99"},
		"Weaker":     {1, func(d *driver.DescribeResponse) { d.Protection = driver.Plain }, "weaken the protection"},
		"Stronger":   {0, func(d *driver.DescribeResponse) { d.Protection = driver.TLS }, "weaken the protection"},
		"WasCrashed": {1, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stores := usedStores(t)
				late := stores[tc.late]
				late.describes(errNoProcess, nil)
				b := open(t, degraded(stores...))
				late.describes(nil, tc.make)
				if tc.make != nil {
					within(t, time.Minute, "the refusal is told", func() bool {
						return len(b.logs.FilterMessageSnippet("a link cannot be used").All()) == 1
					})
					time.Sleep(time.Minute) //nolint:forbidigo // the clock of the bubble
					require.Len(t, b.logs.FilterMessageSnippet("a link cannot be used").All(), 1, "once")
					s := b.Status().Links[tc.late]
					require.Contains(t, s.Evidence.Text, tc.want)
					require.Equal(t, "unavailable", s.Evidence.Class)
					require.Empty(t, s.Driver)
					late.describes(nil, nil)
				}
				within(t, time.Minute, "the driver", func() bool { return b.Status().Links[tc.late].Driver != "" })
				b.start(t, "x")
				within(t, 5*time.Minute, "both links", func() bool { return late.held(t, "x") != nil })
			})
		})
	}
}

// A plugin that crashes again and again, and one that hangs, are links that are
// down until their binary works.
func TestOpenWithAPluginThatDoesNotStart(t *testing.T) {
	t.Parallel()
	binary, err := memoryPlugin()
	require.NoError(t, err)
	for name, waits := range map[string]string{"Crashes": "exit 3", "Hangs": "while [ ! -e well ]; do sleep 0.1; done"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script := filepath.Join(dir, "plugin")
			require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\ncd '"+dir+"'\n[ -e well ] || "+waits+"\nexec '"+binary+"' \"$@\"\n"), 0o700)) //nolint:gosec // it is to be executed
			store := newFaulty(nil)
			first := open(t, configOf(store))
			first.start(t, "w")
			config := degraded(store.another())
			config.Policy.Timeout = 400 * time.Millisecond // before the crashes count as a loop, after which the pauses are long
			config.Links = append(config.Links, chain.Link{Name: "b", Plugin: script})
			c, err := chain.Open(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
				defer cancel()
				require.NoError(t, c.Close(ctx))
			})
			require.NoError(t, c.SetPolicy(chain.Policy{})) // patient again, for a slow machine
			require.Empty(t, c.Status().Links[1].Driver)
			_, err = c.Start(t.Context(), chain.Workflow{ID: "x", Kind: "call"})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "well"), nil, 0o600))
			within(t, 2*time.Minute, "the link is in step", func() bool { return c.Status().Links[1].State == chain.LinkInSync })
			require.Equal(t, "memory", c.Status().Links[1].Driver)
		})
	}
}

// Whoever finds the epoch first, a status check or the search that Open has left
// behind, the search ends with it, and the recovery is told.
func TestSearchForTheEpochEnds(t *testing.T) {
	t.Parallel()
	for range 20 { // who is first is a matter of chance
		synctest.Test(t, func(t *testing.T) {
			stores := usedStores(t)
			for _, s := range stores {
				s.fail(driver.Unavailable)
			}
			b := open(t, degraded(stores...))
			require.Equal(t, chain.Down, b.Status().Condition)
			sleep(time.Minute)
			for _, s := range stores {
				s.fail(nil)
			}
			b.start(t, "x")
			within(t, time.Minute, "the recovery is told", func() bool { return len(eventsOf[chain.Recovered](b)) == 1 })
			require.Empty(t, eventsOf[chain.Followed](b))
			before := stores[0].count("epoch")
			sleep(time.Minute)
			require.LessOrEqual(t, stores[0].count("epoch")-before, 81, "those of the status checks")
		})
	}
}
