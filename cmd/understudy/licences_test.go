// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// programs are the columns of the table of licences.
var programs = []string{"./chain", "./conf", "./plugins/redis", "./plugins/eventstore", "./cmd/understudy", "./cmd/understudy-contract"}

// licenceTexts are what the text of a licence has, by its name in the table. The first that fits counts.
var licenceTexts = []struct{ name, text string }{
	{"MIT and Apache-2.0", "covered by two different licenses: MIT and Apache"},
	{"MPL-2.0", `Mozilla Public License,? [vV]ersion 2\.0`},
	{"Apache-2.0", `Apache License\s+Version 2\.0`},
	{"MIT", `Permission is hereby granted, free of charge`},
	{"BSD-3-Clause", `Redistribution and use in source and binary forms(?s:.*)(Neither|may be used to endorse)`},
}

func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "LICEN*"))
	require.NoError(t, err)
	require.NotEmpty(t, files, dir)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for _, l := range licenceTexts {
		if regexp.MustCompile(l.text).Match(text) {
			return l.name
		}
	}
	return "unknown"
}

// TestLicences: docs/licences.md lists every module that the programs link, with its licence. The error has the table as it
// ought to be.
func TestLicences(t *testing.T) {
	t.Parallel()
	linked := map[string]map[string]bool{} // by module, the programs
	dirs := map[string]string{}
	for _, program := range programs {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", program)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		require.NoError(t, err)
		for line := range strings.Lines(string(out)) {
			module, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok {
				continue
			}
			if dirs[module] = dir; linked[module] == nil {
				linked[module] = map[string]bool{}
			}
			linked[module][program] = true
		}
	}
	var want strings.Builder
	for _, module := range slices.Sorted(maps.Keys(linked)) {
		by := linked[module]
		fmt.Fprintf(&want, "| `%s` | %s |", module, licenceOf(t, dirs[module]))
		for _, program := range programs {
			fmt.Fprintf(&want, "%s |", map[bool]string{true: " ×"}[by[program]])
		}
		want.WriteString("\n")
	}
	page, err := os.ReadFile("../../docs/licences.md")
	require.NoError(t, err)
	require.Contains(t, string(page), "|\n"+want.String()+"\n", "want:\n%s", want.String())
	require.NotContains(t, want.String(), "unknown")
}
