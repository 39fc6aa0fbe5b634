// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	s := newFaulty(nil)
	good := chain.Link{Name: "a", Store: s}
	cases := []struct {
		name   string
		config chain.Config
		want   string
	}{
		{"Name", chain.Config{Name: "Not A Name", Links: []chain.Link{good}}, `"Not A Name"`},
		{"Host", chain.Config{Name: "test", Host: "a\nb", Links: []chain.Link{good}}, `Host "a\nb": want at most 256 bytes of printable UTF-8`},
		{"NoLinks", chain.Config{Name: "test"}, "Links has 0 entries: want 1–16"},
		{"LinkName", chain.Config{Name: "test", Links: []chain.Link{{Store: s}}}, `Links[0].Name ""`},
		{"SameName", chain.Config{Name: "test", Links: []chain.Link{good, good}}, `Links[1].Name "a" is taken`},
		{"NoSource", chain.Config{Name: "test", Links: []chain.Link{{Name: "a"}}}, "0 of Plugin, Driver and Store"},
		{"TwoSources", chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Store: s, Driver: "memory"}}}, "2 of Plugin, Driver and Store"},
		{"NoPlugin", chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Driver: "memory", SHA256: "00"}}}, `Links[0] "a" has SHA256 or Args, which only a Plugin has`},
		{"StoreWithConfig", chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Store: s, Config: []byte("{}")}}}, `Links[0] "a" has a Config`},
		{"AllowWeaker", chain.Config{Name: "test", Links: []chain.Link{good}, AllowWeaker: []string{"z"}}, `AllowWeaker names "z"`},
		{"Retries", chain.Config{Name: "test", Links: []chain.Link{good}, Policy: chain.Policy{Retries: -1}}, "Policy.Retries is -1"},
		{"Negative", chain.Config{Name: "test", Links: []chain.Link{good}, Policy: chain.Policy{Mirror: -1}}, "Policy.Mirror is -1ns"},
		{"Attempt", chain.Config{Name: "test", Links: []chain.Link{good}, Policy: chain.Policy{Timeout: time.Second, Attempt: 2 * time.Second}}, "longer than Policy.Timeout"},
		{"Backoff", chain.Config{Name: "test", Links: []chain.Link{good}, Policy: chain.Policy{Backoff: 2 * time.Second, MaxBackoff: time.Second}}, "more than Policy.MaxBackoff"},
		{"UnknownDriver", chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Driver: "nosuch"}}}, `"nosuch" is not linked`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := chain.Open(t.Context(), tc.config)
			require.ErrorContains(t, err, tc.want)
			want := driver.Invalid
			if tc.name == "UnknownDriver" {
				want = driver.Unsupported
			}
			require.Equal(t, want, driver.ClassOf(err))
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := chain.Open(t.Context(), chain.Config{Links: []chain.Link{{}}, Policy: chain.Policy{Retries: -1}})
	for _, want := range []string{"Name", "Links[0].Name", "0 of Plugin", "Policy.Retries"} {
		require.ErrorContains(t, err, want)
	}
}

func TestWeakerStandbyIsRefused(t *testing.T) {
	t.Parallel()
	stores := []*faulty{newFaulty(nil), newFaulty(nil)}
	stores[0].about = func(d *driver.DescribeResponse) { d.Protection = driver.TLS }
	config := configOf(stores...)
	_, err := chain.Open(t.Context(), config)
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "b")
	require.ErrorContains(t, err, "AllowWeaker")
	config.AllowWeaker = []string{"b"}
	open(t, config).start(t, "w")
}

func TestOtherContractIsRefused(t *testing.T) {
	t.Parallel()
	s := newFaulty(nil)
	s.about = func(d *driver.DescribeResponse) { d.Contract = 99 }
	_, err := chain.Open(t.Context(), configOf(s))
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "contract 99")
}

func TestHostsOpenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := []*faulty{newFaulty(nil), newFaulty(nil)}
		benches := make([]*bench, 8)
		var wg sync.WaitGroup
		for i := range benches {
			wg.Go(func() { benches[i] = open(t, configOf(stores[0].another(), stores[1].another())) })
		}
		wg.Wait()
		t.Cleanup(func() {
			for _, b := range benches {
				b.dump(t)
			}
		})
		for i, b := range benches {
			require.Equal(t, firstEpoch, b.start(t, fmt.Sprint(i)).Epoch)
		}
		require.Equal(t, []string{"b"}, stores[0].epoch(t).InSync)
		require.True(t, stores[0].epoch(t).Equal(stores[1].epoch(t)))
	})
}

// A driver that hangs holds up neither the other links nor what is said of them.
func TestLinksAreOpenedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(4)
		asked := make([]bool, len(stores))
		end := make(chan struct{})
		for i, s := range stores {
			s.about = func(d *driver.DescribeResponse) {
				asked[i] = true
				switch i {
				case 0, 2: // hang
					<-end
				case 3:
					d.Contract = 99
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := chain.Open(ctx, configOf(stores...))
		require.Less(t, time.Since(began), 4*time.Second)
		synctest.Wait()
		require.Equal(t, []bool{true, true, true, true}, asked)
		require.Equal(t, driver.Unavailable, driver.ClassOf(err))
		require.Regexp(t, `(?s)"?a"?: describe.*c: describe`, err.Error())
		close(end)
		synctest.Wait()

		stores[0].about, stores[2].about = nil, nil
		_, err = chain.Open(t.Context(), configOf(stores...))
		require.Equal(t, driver.Invalid, driver.ClassOf(err))
		require.ErrorContains(t, err, "d: open")
	})
}

// A host that has read a standby before it joined, and the active link after that,
// does not take the standby for one that has lost data.
func TestOpenWhileTheFirstEpochIsMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := newStores(2)
		begun := func() bool { return stores[0].epoch(t).Number >= firstEpoch }
		late, slow := others(stores), others(stores)
		read := make(chan struct{})
		var once sync.Once
		late[1].answers(func(op string) error {
			if op == "epoch" {
				once.Do(func() { close(read) })
			}
			return nil
		})
		late[0].hook(func(_ context.Context, op string) error {
			if op == "epoch" {
				eventually(t, "the first epoch", begun)
			}
			return nil
		})
		slow[1].hook(func(_ context.Context, op string) error {
			if op == "advance" && begun() {
				time.Sleep(300 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
			}
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { open(t, configOf(late...)) })
		<-read
		open(t, configOf(slow...))
		wg.Wait()
		require.Equal(t, []string{"b"}, stores[0].epoch(t).InSync)
	})
}

func TestOpenJoinsTheHighestEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		b.stores[0].fail(driver.Unavailable)
		b.start(t, "x")
		// The old active link is still at epoch 1 when another host begins.
		other := open(t, configOf(b.stores[0].another(), b.stores[1].another()))
		require.Equal(t, movedEpoch, other.start(t, "y").Epoch)
		require.NotNil(t, b.stores[1].held(t, "y"))
		require.Nil(t, b.stores[0].held(t, "y"))
		require.Len(t, other.logs.FilterMessageSnippet("running unprotected").All(), 1)
	})
}

func TestOpenWithALinkDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		down := b.stores[0].another()
		down.fail(driver.Unavailable)
		began := time.Now()
		other := open(t, configOf(down, b.stores[1].another()))
		require.InDelta(t, 10, time.Since(began).Seconds(), 1.3, "less a pause of up to 1.25 s")
		require.Equal(t, movedEpoch, other.start(t, "x").Epoch, "the first call fails over")
	})
}

func TestOpenOfANewChainNeedsAllLinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stores := []*faulty{newFaulty(nil), newFaulty(nil)}
		stores[1].fail(fmt.Errorf("b is broken: %w", driver.Unavailable))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := chain.Open(ctx, configOf(stores...))
		require.LessOrEqual(t, time.Since(began), 3100*time.Millisecond)
		require.ErrorIs(t, err, driver.Unavailable)
		require.ErrorContains(t, err, "b is broken")
	})
}

// A standby that lost everything while no host was there to see it.
func TestOpenDropsAnEmptiedStandby(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := openN(t, 2)
		b.start(t, "w")
		require.NoError(t, b.Close(t.Context()))
		b.stores[1].model.Erase()
		other := open(t, configOf(b.stores[0].another(), b.stores[1].another()))
		eventually(t, "the standby is dropped", func() bool { return len(b.stores[0].epoch(t).InSync) == 0 })
		other.start(t, "x")
		require.Nil(t, b.stores[1].held(t, "x"))
	})
}

// A host died between making the first epoch and bringing in the standby.
func TestOpenMendsAnUnfinishedBeginning(t *testing.T) {
	t.Parallel()
	for _, state := range []driver.EpochState{driver.Serving, driver.Handover} {
		t.Run(state.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				stores := []*faulty{newFaulty(nil), newFaulty(nil)}
				_, err := stores[0].Advance(t.Context(), driver.AdvanceRequest{Next: driver.Epoch{
					Number: 1, Version: 1, Token: driver.NewToken(), Active: "a", State: state}})
				require.NoError(t, err)
				b := open(t, configOf(stores...))
				b.start(t, "w")
				require.NotNil(t, stores[1].held(t, "w"))
				require.Equal(t, []string{"b"}, stores[0].epoch(t).InSync)
				require.Equal(t, firstEpoch, stores[0].epoch(t).Number)
			})
		})
	}
}

func TestEpochOfUnknownLink(t *testing.T) {
	t.Parallel()
	s := newFaulty(nil)
	_, err := s.Advance(t.Context(), driver.AdvanceRequest{Next: driver.Epoch{Number: 1, Version: 1, Token: driver.NewToken(), Active: "z"}})
	require.NoError(t, err)
	_, err = chain.Open(t.Context(), configOf(s))
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, `"z"`)
}

// The host links no client library: those belong to the drivers' processes.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for dep := range strings.FieldsSeq(string(out)) {
		for _, banned := range []string{"redis", "EventStore", "kurrent", "understudy/drivers/", "testify", "go.etcd.io", "knadh/koanf", "/contract_test"} {
			require.NotContains(t, dep, banned)
		}
	}
	require.Contains(t, string(out), "github.com/understudy-dev/understudy/driver\n")
}
