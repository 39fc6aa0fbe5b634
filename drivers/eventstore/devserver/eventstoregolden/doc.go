// SPDX-License-Identifier: Apache-2.0

// Command eventstoregolden records what a server of the EventStoreDB gRPC protocol does, compares another server
// with such a record, and measures speed. It works against any such server; docs/eventstore-dev-server.md explains
// the record and the flags.
//
// It talks raw gRPC through the public stubs of the Go client, so that the messages, the gRPC code and the trailers
// are seen as they are on the wire; the cases of the area client go through the client itself.
package main
