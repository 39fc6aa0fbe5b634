// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// TestPolicyContradictions: what cannot work as it says is refused, and the
// message shows the sum.
func TestPolicyContradictions(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for name, tc := range map[string]struct {
		policy chain.Policy
		want   string // a problem, and the only one; empty: none
	}{
		"Zero":            {chain.Policy{}, ""},
		"ShortTimeout":    {chain.Policy{Timeout: s / 2}, ""},
		"LowCeilings":     {chain.Policy{MaxBackoff: time.Millisecond, MaxHoldDown: s}, ""},
		"MostRetries":     {chain.Policy{Retries: 13}, ""},
		"Attempt":         {chain.Policy{Attempt: 11 * s}, "Policy.Attempt is 11s: one attempt would be longer than Policy.Timeout, 10s"},
		"Backoff":         {chain.Policy{Backoff: 2 * s, MaxBackoff: s}, "Policy.Backoff is 2s: more than Policy.MaxBackoff, 1s"},
		"Retries":         {chain.Policy{Retries: 14}, "Policy.Retries is 14: never reached, as the pauses before them alone, from 50ms doubled up to 1s, add up to 10.55s, more than Policy.Timeout, 10s"},
		"EndlessRetries":  {chain.Policy{Retries: math.MaxInt}, "Policy.Retries is 9223372036854775807: never reached"},
		"Mirror":          {chain.Policy{Mirror: 11 * s}, "Policy.Mirror is 11s: a failing standby would hold up calls for longer than a failing active link, Policy.Timeout, 10s"},
		"Handover":        {chain.Policy{Handover: 11 * s}, "Policy.Handover is 11s: a link that comes back would hold up calls for longer than one that fails, Policy.Timeout, 10s"},
		"Check":           {chain.Policy{Check: chain.Check{Interval: 4 * s}}, "Policy.Check.Interval is 4s: 3 status checks (Policy.Check.Fall) take 3 × 4s = 12s, more than Policy.Timeout, 10s"},
		"ManyChecks":      {chain.Policy{Check: chain.Check{Interval: s, Fall: 11}}, "Policy.Check.Interval is 1s: 11 status checks (Policy.Check.Fall) take 11 × 1s = 11s, more than Policy.Timeout, 10s"},
		"OverflowOfCheck": {chain.Policy{Check: chain.Check{Interval: s, Fall: math.MaxInt}}, "Policy.Check.Interval is 1s: 9223372036854775807 status checks"},
		"Slow":            {chain.Policy{Check: chain.Check{Slow: 2500 * time.Millisecond}}, "Policy.Check.Slow is 2.5s: want less than a status check may take at all, 2.5s"},
		"HoldDown":        {chain.Policy{HoldDown: s, MaxHoldDown: s / 2}, "Policy.HoldDown is 1s: more than Policy.MaxHoldDown, 500ms"},
		"MinInSync":       {chain.Policy{MinInSync: 2}, "Policy.MinInSync is 2: a chain of 2 links has at most 1 standbys, so nothing would ever be acknowledged"},
		"MirrorMode":      {chain.Policy{MirrorMode: "eventual"}, `Policy.MirrorMode is "eventual": want one of ["sync" "async"]`},
		"StaleStandby":    {chain.Policy{StaleStandby: "Serve"}, `Policy.StaleStandby is "Serve": want one of ["wait" "serve"]`},
		"Failback":        {chain.Policy{Failback: "on"}, `Policy.Failback is "on": want one of ["auto" "manual" "off"]`},
		"NegativeNumber":  {chain.Policy{Outbox: -1}, "Policy.Outbox is -1: want 0 (the default, 65,536) or more"},
		"NegativeTime":    {chain.Policy{Check: chain.Check{Interval: -s}}, "Policy.Check.Interval is -1s: want 0 (the default) or more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := chain.Config{Name: "test", Links: []chain.Link{{Name: "a", Driver: "memory"}, {Name: "b", Driver: "memory"}}, Policy: tc.policy}
			err := config.Validate()
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, driver.Invalid)
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, 1, strings.Count(err.Error(), "invalid: "), "%v", err)
		})
	}
}

// TestDefaultsStayDefaults: filling in twice changes nothing, and what is set stays.
func TestDefaultsStayDefaults(t *testing.T) {
	t.Parallel()
	full := chain.Policy{Timeout: 5 * time.Second, Check: chain.Check{Fall: 10}}.WithDefaults()
	require.Equal(t, full, full.WithDefaults())
	require.Equal(t, 5*time.Second, full.Timeout)
	require.Equal(t, 500*time.Millisecond, full.Check.Interval, "as many checks as fall fit into the time-out")
	require.NoError(t, full.Validate(1))
}
