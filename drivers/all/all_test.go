// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/all"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const module = "github.com/understudy-dev/understudy"

func names() []string {
	var names []string
	for _, known := range all.Table() {
		names = append(names, known.Name)
	}
	return names
}

func TestTableMatchesFolders(t *testing.T) {
	t.Parallel()
	isDriver := regexp.MustCompile(`(?m)^func Driver\(\) driver\.Driver`)
	var folders []string
	files, err := filepath.Glob("../*/*.go")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if isDriver.Match(text) {
			folders = append(folders, filepath.Base(filepath.Dir(file)))
		}
	}
	slices.Sort(folders)
	require.Equal(t, names(), folders, "the table of this package and the folders with a func Driver()")
}

func TestTableMatchesLinkFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(file string) bool { return file == "all.go" || strings.HasSuffix(file, "_test.go") })
	var linked []string
	for _, file := range files {
		name := strings.TrimSuffix(file, ".go")
		linked = append(linked, name)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), fmt.Sprintf("//go:build !custom || drivers || drivers.%s\n", name), file)
		require.Contains(t, string(text), fmt.Sprintf("driver.Register(%s.Driver())", name), file)
	}
	slices.Sort(linked)
	require.Equal(t, names(), linked, "the table of this package and its link files")
}

func TestTableMatchesMakefile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^DRIVERS\s*=\s*(.*)$`).FindSubmatch(text)
	require.NotNil(t, line, "the Makefile has no line DRIVERS = …")
	inMakefile := strings.Fields(string(line[1]))
	slices.Sort(inMakefile)
	require.Equal(t, names(), inMakefile, "the table of this package and DRIVERS in the Makefile")
}

func TestEveryDriverIsRegisteredUnderItsName(t *testing.T) {
	t.Parallel()
	// This test runs in builds of all tags, so it asks only about what is linked.
	for _, name := range driver.Names() {
		require.Contains(t, names(), name)
		d, err := driver.Lookup(name)
		require.NoError(t, err)
		require.Equal(t, name, d.Name)
	}
}

// TestTags proves for each combination of build tags what this package links, and
// that it links nothing else.
func TestTags(t *testing.T) {
	t.Parallel()
	combinations := map[string][]string{ // to the drivers that must be linked
		"":               names(),
		"custom":         nil,
		"custom,drivers": names(),
	}
	for i, name := range names() {
		combinations["custom,drivers."+name] = []string{name}
		for _, other := range names()[i+1:] {
			combinations["custom,drivers."+name+",drivers."+other] = []string{name, other}
		}
	}
	for tags, want := range combinations {
		t.Run("tags="+tags, func(t *testing.T) {
			t.Parallel()
			deps := dependencies(t, tags)
			for _, known := range all.Table() {
				linked := slices.Contains(want, known.Name)
				require.Equal(t, linked, slices.Contains(deps, module+"/drivers/"+known.Name), "package of %s", known.Name)
				for _, m := range known.Modules {
					found := slices.ContainsFunc(deps, func(dep string) bool { return dep == m || strings.HasPrefix(dep, m+"/") })
					require.Equal(t, linked, found, "module %s of %s", m, known.Name)
				}
			}
			require.NotContains(t, deps, "testing", "test libraries stay out of programs")
		})
	}
}

// dependencies returns all packages that this package links with the given tags.
func dependencies(t *testing.T, tags string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, ".")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Fields(string(out))
}
