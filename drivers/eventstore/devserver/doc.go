// SPDX-License-Identifier: Apache-2.0

// Package devserver is a server that speaks the gRPC protocol of EventStoreDB 23.10.6, for development and for the
// tests of programs that use one. It is not for production.
//
// Use it in the manner of net/http/httptest:
//
//	server, err := devserver.Start(devserver.Options{})
//	if err != nil { … }
//	defer server.Close()
//	client := connect(server.URL())
//
// It is durable: an acknowledged write is on the disk. It can be started again on the same data directory, with TLS
// and users, as three nodes, and with faults on demand. What it does and does not do, and how it is compared with a
// real server, stands in docs/eventstore-dev-server.md.
package devserver
