// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-dev/understudy/driver"
)

// withoutOvertaken returns the calls of one record, without what some have seen of
// a transition that a failover has overtaken: while a commit or claim is under way,
// others may see what it has done, and then its link may die with that. Whoever
// made it was told of its second attempt only, and another has come to that
// revision.
func withoutOvertaken(part []porcupine.Operation) []porcupine.Operation {
	acknowledged, makers := racedTokens(part)
	var lost []porcupine.Operation // what made the overtaken
	for _, c := range part {
		out, ok := c.Output.(raceAnswer)
		maker, known := makers[out.token]
		if others := acknowledged[out.revision]; ok && known && out.revision > 0 && len(others) > 0 && !others[out.token] {
			lost = append(lost, maker)
		}
	}
	var left []porcupine.Operation
	for _, c := range part {
		in, inOK := c.Input.(raceCall)
		out, outOK := c.Output.(raceAnswer)
		saw := inOK && outOK && slices.ContainsFunc(lost, func(maker porcupine.Operation) bool {
			return c.Call <= maker.Return && maker.Call <= c.Return && (out.token == tokenOf(maker) || in.op == OpClaim && out == raceAnswer{})
		})
		switch {
		case saw && in.op == OpCommit: // it may have been done before
			c.Output = raceAnswer{class: out.class, unknown: true}
		case saw:
			continue
		}
		left = append(left, c)
	}
	return left
}

// racedTokens returns the tokens that callers were told they had written, by
// revision, and the call that each token is of.
func racedTokens(part []porcupine.Operation) (acknowledged map[uint64]map[driver.Token]bool, makers map[driver.Token]porcupine.Operation) {
	acknowledged, makers = map[uint64]map[driver.Token]bool{}, map[driver.Token]porcupine.Operation{}
	for _, c := range part {
		token := tokenOf(c)
		if token.IsZero() {
			continue
		}
		makers[token] = c
		if out, ok := c.Output.(raceAnswer); ok && out.class == 0 && out.revision > 0 {
			if acknowledged[out.revision] == nil {
				acknowledged[out.revision] = map[driver.Token]bool{}
			}
			acknowledged[out.revision][token] = true
		}
	}
	return acknowledged, makers
}

// tokenOf returns the token of a commit or a claim, and none of a get.
func tokenOf(c porcupine.Operation) driver.Token {
	in, ok := c.Input.(raceCall)
	if ok && in.op == OpCommit {
		return in.next.Record.Token
	}
	return in.who
}
