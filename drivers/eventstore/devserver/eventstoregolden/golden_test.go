// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recordFile is the record of a real EventStoreDB. It is never edited.
const recordFile = "../testdata/eventstoredb-23.10.6.json"

// share is a part of the cases.
type share struct {
	name  string
	only  string
	skip  string
	idle  time.Duration
	timed bool // they look at times that are measured against idle
}

// shares divide the cases among servers that are compared at the same time: those about the whole log run one after
// the other, and some depend on when an answer comes.
var shares = []share{
	{name: "Streams", skip: "^(all|subscribe-all|deadline|batch/bad-event)", idle: 400 * time.Millisecond},
	{name: "WholeLog", only: "^all/", idle: 400 * time.Millisecond},
	{name: "PrefixesCompat0", only: "^subscribe-all/stream-prefix.*compat0", idle: 400 * time.Millisecond},
	{name: "PrefixesCompat1", only: "^subscribe-all/stream-prefix.*compat1", idle: 400 * time.Millisecond},
	{name: "OthersCompat0", only: "^subscribe-all/([^s]|stream-r).*compat0", idle: 400 * time.Millisecond},
	{name: "OthersCompat1", only: "^subscribe-all/([^s]|stream-r).*compat1", idle: 400 * time.Millisecond},
	// A subscription ends 300 ms after its start, and the second answer to a bad event comes 2 s after the first,
	// in the third of three quiet times.
	{name: "Timed", only: "^(deadline|batch/bad-event)", idle: 700 * time.Millisecond, timed: true},
}

// TestDevelopmentServerIsLikeTheRecord holds the development server to what a real one did.
func TestDevelopmentServerIsLikeTheRecord(t *testing.T) {
	t.Parallel()
	old, err := load(recordFile)
	require.NoError(t, err)
	compared := make([]comparison, len(shares))
	t.Cleanup(func() { // when all shares are done
		if t.Failed() {
			return
		}
		requireComplete(t, old, compared)
		requireAllowed(t, compared)
		requireFew(t, compared)
	})
	for i, share := range shares {
		t.Run(share.name, func(t *testing.T) {
			t.Parallel()
			compared[i] = share.compare(t, old)
		})
	}
}

// patience is how often a case may differ. On a busy machine an answer may come after a subscription was taken as quiet,
// or not within the time of the case.
const patience = 5

// compare runs the cases, and those that differ and may not once more, alone and with longer quiet times.
func (s share) compare(t *testing.T, old Golden) comparison {
	t.Helper()
	c := s.run(t, old, 16)
	for range patience - 1 {
		var differ []string
		for n := range c.different {
			if !mayDiffer(n) {
				differ = append(differ, regexp.QuoteMeta(n))
			}
		}
		if len(differ) == 0 {
			break
		}
		t.Logf("once more: %q", differ)
		s.only, s.skip = "^("+strings.Join(differ, "|")+")$", ""
		if !s.timed {
			s.idle = min(2*s.idle, 1600*time.Millisecond)
		}
		again := s.run(t, old, 1)
		for _, n := range again.equal {
			delete(c.different, n)
		}
		c.equal = append(c.equal, again.equal...)
		maps.Copy(c.different, again.different)
	}
	return c
}

// run compares the cases of a share with the record, so many at once, on a server of their own.
func (s share) run(t *testing.T, old Golden, parallel int) comparison {
	t.Helper()
	server, err := devserver.Start(devserver.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Close()) }()
	cfg := Config{URL: server.Addresses()[0], Only: s.only, Skip: s.skip, Idle: s.idle, Parallel: parallel}
	require.NoError(t, cfg.prepare())
	now, err := record(t.Context(), &cfg, "", io.Discard) // who got no answer differs
	require.NoError(t, err)
	return compare(old, now, true)
}

// requireComplete makes sure that no case of the record was left out.
func requireComplete(t *testing.T, old Golden, compared []comparison) {
	t.Helper()
	var seen, recorded []string
	for _, c := range compared {
		require.Empty(t, c.gone, "cases of the record that this program no longer has")
		seen = append(seen, c.equal...)
		for n := range c.different {
			seen = append(seen, n)
		}
	}
	for _, r := range old.Cases {
		recorded = append(recorded, r.id())
	}
	require.ElementsMatch(t, recorded, seen)
}

// requireAllowed makes sure that nothing differs but what may, and that what may differ does.
func requireAllowed(t *testing.T, compared []comparison) {
	t.Helper()
	var allowed []string
	for _, c := range compared {
		for n, lines := range c.different {
			require.True(t, mayDiffer(n), "%s differs from the record (- golden, + this server):\n%s", n, strings.Join(lines, "\n"))
			allowed = append(allowed, n)
		}
	}
	for name := range differences {
		require.True(t, slices.ContainsFunc(allowed, func(n string) bool { return matches(name, n) }),
			"%s is equal to the record now: take it off the list and out of the documentation", name)
	}
}

// differences are the cases that may differ, an area with /* for all of its cases. The documentation has the same
// list with the reasons.
var differences = map[string]bool{
	"features/supported-methods": true,
	"persistent/*":               true,
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func mayDiffer(name string) bool {
	for pattern := range differences {
		if matches(pattern, name) {
			return true
		}
	}
	return false
}

// documentation is the page that lists the differences and their reasons.
const documentation = "../../../../docs/eventstore-dev-server.md"

// TestDocumentationListsTheDifferences compares the list above with the table of the documentation.
func TestDocumentationListsTheDifferences(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(documentation)
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## Differences from the record\n")
	require.True(t, found, "the section with the table is missing")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		documented = append(documented, row[1])
		require.Greater(t, len(row[2]), 20, "%s has no reason", row[1])
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(differences)), documented)
}

// heldAreas are those in which at most two of a hundred cases may differ.
var heldAreas = []string{"append", "idempotency", "read", "all", "subscribe", "subscribe-all", "metadata", "delete", "links", "batch",
	"gossip", "deadline", "client", "credentials"}

func requireFew(t *testing.T, compared []comparison) {
	t.Helper()
	all, different := 0, 0
	for _, c := range compared {
		for _, n := range c.equal {
			if slices.Contains(heldAreas, area(n)) {
				all++
			}
		}
		for n := range c.different {
			if slices.Contains(heldAreas, area(n)) {
				all++
				different++
			}
		}
	}
	require.LessOrEqual(t, different*50, all)
}
