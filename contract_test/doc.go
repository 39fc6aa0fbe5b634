// SPDX-License-Identifier: Apache-2.0

// Package contracttest checks that a driver keeps the contract of package driver,
// sentence by sentence. It is for authors of drivers.
//
// A driver's own test is short:
//
//	func TestContract(t *testing.T) {
//		contracttest.Run(t, contracttest.Harness{
//			Open:         contracttest.Linked(mydriver.Driver(), config),
//			Capabilities: []driver.Capability{driver.CapChanges},
//		})
//	}
//
// Each [Case] is a subtest Area/Case, has a store of its own and a time limit, and
// prints on failure the sentence it checks. Nothing is left out unless the harness
// says so: a case is run, or it is excused with a reason that stands in the report.
// Programs that are not tests go through [Cases] and [Check].
//
// The same cases reach a driver in several ways: linked into the test ([Linked]), through
// the wire in memory (package wired), through a plugin's process (package process),
// and, from the command line, on any plugin binary (understudy-contract).
//
// The suite is tested itself: on [Model], a reference that shares no code with the
// drivers, and on wrappers that each break one sentence of the contract and have
// to be caught by the area that stands for it.
package contracttest
