// SPDX-License-Identifier: Apache-2.0

package main

// linkedServers are the development servers that the build tags link in; each is
// added by a file of its own.
var linkedServers []command

func devServers() []command { return linkedServers }
