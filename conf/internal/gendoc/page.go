// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-dev/understudy/conf"
)

//go:embed intro.md
var intro string

// makePage returns the page about the package conf in the folder dir.
func makePage(dir string) (string, error) {
	own, err := readStructs(hostTag, dir)
	if err != nil {
		return "", err
	}
	defaults, err := readDefaults()
	if err != nil {
		return "", err
	}
	sample, err := os.ReadFile(filepath.Join(dir, "understudy.yaml"))
	if err != nil {
		return "", err
	}
	var page strings.Builder
	page.WriteString(intro)
	page.WriteString("\n## Keys\n")
	own.write(&page, "Config", "", defaults)
	page.WriteString("\n## Sections of drivers\n\nWhat stands under `links.NAME.config`. \"secret\" marks keys whose values no driver ever shows.\n")
	drivers := filepath.Join(dir, "..", "drivers")
	folders, err := filepath.Glob(filepath.Join(drivers, "*"))
	if err != nil {
		return "", err
	}
	slices.Sort(folders)
	for _, folder := range folders {
		sections, err := readStructs(driverTag, folder, filepath.Join(drivers, "settings"))
		if err != nil {
			return "", err
		}
		if _, ok := sections["Config"]; !ok {
			continue
		}
		fmt.Fprintf(&page, "\n### %s\n", filepath.Base(folder))
		sections.write(&page, "Config", "", nil)
	}
	fmt.Fprintf(&page, "\n## Sample\n\n```yaml\n%s```\n", sample)
	return page.String(), nil
}

// write writes the table of a section, then those of the sections inside. at is
// where it stands.
func (s structs) write(page *strings.Builder, section, at string, defaults map[string]string) {
	if at != "" {
		fmt.Fprintf(page, "\n#### `%s`\n", at)
	}
	fields := s[section]
	page.WriteString("\n| key | value | meaning |\n|---|---|---|\n")
	for i := range fields {
		f := &fields[i]
		text := f.text(fields)
		if value := defaults[under(at, f.key)]; value != "" {
			text += " Default: `" + value + "`."
		}
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", f.key, f.typ, text)
	}
	for i := range fields {
		f := &fields[i]
		if inner := f.section; inner != "" {
			at := under(at, f.key)
			if strings.HasPrefix(f.typ, "list") {
				at += "[]"
			}
			s.write(page, inner, at, defaults)
		}
	}
}

func under(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// readDefaults returns the defaults by key.
func readDefaults() (map[string]string, error) {
	var text strings.Builder
	if err := conf.WriteDefaults(&text); err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text.String()), &tree); err != nil {
		return nil, err
	}
	defaults := map[string]string{}
	flatten(defaults, "", tree)
	return defaults, nil
}

func flatten(into map[string]string, at string, tree map[string]any) {
	for key, value := range tree {
		if section, ok := value.(map[string]any); ok {
			flatten(into, under(at, key), section)
			continue
		}
		into[under(at, key)] = fmt.Sprint(value)
	}
}
