// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestDocumentation checks that the code in docs/writing-a-driver.md is that of
// this driver.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/writing-a-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(\\w+) file=(\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 10 {
		t.Fatalf("%d blocks of code found, want all", len(blocks))
	}
	if n := strings.Count(string(page), "```go"); n != strings.Count(string(page), "```go file=") {
		t.Errorf("%d blocks of Go in all, and not each names its file", n)
	}
	for _, block := range blocks {
		file, code := block[2], block[3]
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), code) {
			t.Errorf("%s does not have these lines:\n%s", file, code)
		}
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
