// SPDX-License-Identifier: Apache-2.0

// Package settings has what the configurations of drivers have in common that
// reach a server over a network: TLS, credentials, which hosts are on this
// machine, and how everything that is wrong with a configuration is told at once.
//
// A driver decodes its section with [driver.DecodeConfig] into a struct of its own,
// in which [TLS] can be a section, and checks it with [Faults].
package settings
