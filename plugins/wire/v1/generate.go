// SPDX-License-Identifier: Apache-2.0

// Package wirev1 is version 1 of the messages between a host and a plugin,
// generated from driver.proto. It is for package wire, and for those who speak
// to hosts or plugins from other languages.
package wirev1

//go:generate protoc --proto_path=../../.. --go_out=../../.. --go_opt=paths=source_relative --go-grpc_out=../../.. --go-grpc_opt=paths=source_relative plugins/wire/v1/driver.proto
