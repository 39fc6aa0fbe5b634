// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-dev/understudy/driver"
)

// Digest returns a hash of all that the machine holds for the chain and the
// position up to which it has applied the log: machines at the same position have
// the same digest, wherever in the log they started. It takes time in proportion
// to the number of records and holds up other calls meanwhile.
func (m *Machine) Digest() (Position, string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.replica.next, m.replica.digest()
}

func (r *replica) digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%x %s %s %d\n", r.incarnation, r.epoch, r.epoch.Token, r.checkpoint)
	var entries []*entry
	for _, page := range r.table.pages {
		for i := range page {
			if page[i].data != nil {
				entries = append(entries, &page[i])
			}
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return bytes.Compare(a.data, b.data) })
	for _, e := range entries {
		fmt.Fprintf(h, "%d %d %d ", e.known, e.touch, len(e.data))
		h.Write(e.data)
	}
	tokens := slices.SortedFunc(maps.Keys(r.claims), func(a, b driver.Token) int { return bytes.Compare(a[:], b[:]) })
	for _, token := range tokens {
		c := r.claims[token]
		fmt.Fprintf(h, "%s %d %d\n", token, c.until, c.known)
	}
	return hex.EncodeToString(h.Sum(nil))
}
