// SPDX-License-Identifier: Apache-2.0

// Package redistest starts real Redis servers for tests: a single node, a master
// with replicas and Sentinels, a Cluster. They listen on free loopback ports, keep
// their data in temporary folders, and end with the test, or with the test's
// process if that is killed. It is for tests of the driver and of programs that
// use it; redis-server must be installed.
//
// Servers take TLS only and know two users: Admin may do everything, User has
// the rights that the driver needs and no more.
package redistest
