// SPDX-License-Identifier: Apache-2.0

// Package memory is the driver that keeps workflows in the memory of its process:
// the state machine of package journal over a log that is a list. It is for tests,
// examples, and chains whose other links are durable.
//
// What it holds ends with the process. Stores of one name and chain share their
// data within a process, as if they were hosts on one product; each keeps a table
// of its own. A plugin subprocess is a process of its own, so stores behind
// different subprocesses never share.
package memory
