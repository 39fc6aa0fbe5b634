// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"encoding/hex"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// check finds what fits its type and yet cannot be used.
func (l *loader) check(c *Config) {
	for i := range c.Links {
		link, path := &c.Links[i], join("links", l.links[i])
		if sum, err := hex.DecodeString(link.SHA256); err != nil || len(sum) != 0 && len(sum) != 32 {
			l.wrong(join(path, "sha256"), "is %q: want 64 hexadecimal digits", link.SHA256)
		}
		if link.Plugin == "" && link.SHA256 != "" {
			l.wrong(join(path, "sha256"), "set, but the link has no plugin")
		}
		if link.Plugin == "" && len(link.Args) > 0 {
			l.wrong(join(path, "args"), "set, but the link has no plugin")
		}
	}
	chained := c.ChainConfig()
	for _, detail := range details(chained.Validate()) {
		path, text := l.translate(detail)
		if !slices.ContainsFunc(l.problems, func(p Problem) bool { return strings.HasPrefix(p.Key, shown(path)) }) {
			l.wrong(path, "%s", text) // else it follows from what was told of
		}
	}
}

// wrong tells of a problem with the value at path, or with its absence.
func (l *loader) wrong(path, format string, args ...any) {
	origin := l.originOf(path)
	if origin == (Origin{}) {
		origin.File = l.file
	}
	l.bad(origin, path, format, args...)
}

// details returns the text of each error that is joined in err.
func details(err error) []string {
	if e, ok := err.(*driver.Error); ok { //nolint:errorlint // the errors inside are looked for below
		return []string{e.Detail}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, one := range many.Unwrap() {
			all = append(all, details(one)...)
		}
		return all
	}
	if one := errors.Unwrap(err); one != nil {
		return details(one)
	}
	if err != nil {
		return []string{err.Error()}
	}
	return nil
}

// fieldNames matches the names of the fields of chain.Config in its problems.
var fieldNames = regexp.MustCompile(`\bPolicy(?:\.[A-Z]\w*)+|\bLinks\[\d+\](?:\.Name)?|\bLinks\b|\bAllowWeaker\b|\bReportDir\b|\bPlugin, Driver and Store\b|^Name\b|^Host\b`)

// translate puts a problem of the chain, which speaks of the fields of its
// Config, in the words of a file. path is what it is about.
func (l *loader) translate(detail string) (path, text string) {
	text = fieldNames.ReplaceAllStringFunc(detail, func(name string) string {
		key := l.keyOf(name)
		if path == "" {
			path = key
		}
		return shown(key)
	})
	return path, strings.TrimSpace(strings.TrimPrefix(text, shown(path)))
}

func (l *loader) keyOf(name string) string {
	switch {
	case name == "Name":
		return "chain"
	case name == "Host":
		return "host"
	case name == "Links":
		return "links"
	case name == "AllowWeaker":
		return "allow_weaker"
	case name == "ReportDir":
		return "report_dir"
	case name == "Plugin, Driver and Store":
		return "plugin and driver"
	case strings.HasPrefix(name, "Links["):
		number, rest, _ := strings.Cut(strings.TrimPrefix(name, "Links["), "]")
		if i, err := strconv.Atoi(number); err == nil && i < len(l.links) {
			return join("links", l.links[i]) + strings.Replace(rest, ".Name", delimiter+"name", 1)
		}
	}
	return keyPath(configType, strings.Split(name, "."))
}

// keyPath returns the path of the keys that stand for the fields of a struct and
// of those inside it.
func keyPath(t reflect.Type, names []string) string {
	for _, f := range fieldsOf(t) {
		switch {
		case f.name != names[0]:
		case len(names) == 1:
			return f.key
		case f.isSection():
			return join(f.key, keyPath(f.typ, names[1:]))
		}
	}
	return strings.Join(names, ".")
}
