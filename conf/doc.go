// SPDX-License-Identifier: Apache-2.0

// Package conf reads the configuration of a program that works on a chain: a YAML
// file, over it the environment, over that the command line. It is for programs;
// libraries take typed options.
//
// Loading is strict: an unknown key, a value of the wrong type and a
// contradiction are errors, and all of them are told at once, each with its place,
// the form expected and the nearest known key. docs/configuration.md describes
// every key.
package conf

//go:generate go run ./internal/gendoc -o ../docs/configuration.md
