// SPDX-License-Identifier: Apache-2.0

// Package eventstore is the driver that keeps workflows in EventStoreDB: the state
// machine of package journal over one journal stream per chain.
//
// Each transition is one JSON event whose type says what happened (WorkflowStarted,
// SavePointReached, …) and whose $correlationId is the id of the workflow, so that
// the journal can be read, searched and projected with the tools of EventStoreDB.
// docs/eventstore.md says how to set up the server, what an operator sees there,
// and what the journal needs.
package eventstore
