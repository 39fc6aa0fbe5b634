// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"cmp"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
)

const ownEpochs = "a chain makes its epochs itself"

// What a chain keeps to itself and cases are about, by area or by case; see
// Harness.Chain.
var keptByChains = map[string]string{
	"Merge":                               "a chain is not merged into: it merges into its links",
	"Epoch":                               ownEpochs,
	"Fence":                               ownEpochs + ", and follows a fence",
	"Rollback":                            "a chain looks after the marks of its links itself",
	"Marks":                               "a chain looks after the marks of its links itself",
	"Probe":                               "a chain probes its links itself",
	"Chain/SharesNoEpoch":                 ownEpochs,
	"Claim/PassesOverNewerEpochs":         ownEpochs,
	"Commit/RefusesRecordsOfAnotherEpoch": ownEpochs,
	"Commit/RefusesToGoBackInEpoch":       ownEpochs,
	"Ownership/OfAnAdvance":               ownEpochs,
	"Changes/EndAtTheEnd":                 "the feed of a chain does not end",
	"Changes/EndWhileOthersWrite":         "the feed of a chain does not end",
}

// notOfChains returns why c does not apply to chains, or "".
func notOfChains(c Case) string { return cmp.Or(keptByChains[c.FullName()], keptByChains[c.Area]) }

// partition returns the one that a commit of one record has touched; 0 of a chain,
// whose links have one each in the suite.
func (c *conn) partition(resp driver.CommitResponse) uint32 {
	c.e.Helper()
	if c.e.h.Chain {
		return 0
	}
	require.Len(c.e, resp.Marks, 1, "a commit of one record touches one partition, and the receipt tells of those it touched")
	return resp.Marks[0].Partition
}
