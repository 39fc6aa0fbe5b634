// SPDX-License-Identifier: Apache-2.0

package chain

import "strings"

// reservedKinds begins the kinds of workflows that the chain starts itself.
const reservedKinds = "understudy."

// isReserved reports whether workflows of the kind are the chain's own, which
// applications neither see nor start.
func isReserved(kind string) bool { return strings.HasPrefix(kind, reservedKinds) }
