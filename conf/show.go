// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Setting is one value of a configuration, for people.
type Setting struct {
	Key    string // such as links.redis.config.addresses
	Value  string // as JSON, durations as texts; a secret is redacted
	Origin Origin
}

// Settings returns every value, the defaults included, in the order of the
// documentation. Those of the drivers' own sections are only what was set.
// Secrets are redacted.
func (c *Config) Settings() []Setting { return slices.Clone(c.settings) }

// Show writes every value, a line each, with where it comes from. Secrets are
// redacted.
func (c *Config) Show(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range c.settings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, s.Value, s.Origin)
	}
	return table.Flush()
}

// settings lists the values of c; raw holds the sections of the drivers, with
// references in the place of secrets.
func (l *loader) settings(c *Config, raw map[string]any) []Setting {
	var all []Setting
	add := func(path, value string) {
		all = append(all, Setting{shown(path), value, l.originOf(path)})
	}
	l.addStruct(add, "", reflect.ValueOf(*c), raw)
	return all
}

func (l *loader) addStruct(add func(path, value string), at string, v reflect.Value, raw map[string]any) {
	for _, f := range fieldsOf(v.Type()) {
		path, value := under(at, f.key), v.Field(f.index)
		switch {
		case f.isSection():
			l.addStruct(add, path, value, nil)
		case f.typ == linksType:
			byName, _ := raw[f.key].(map[string]any)
			for i, name := range l.links {
				link, _ := byName[name].(map[string]any)
				l.addStruct(add, join(path, name), value.Index(i), link)
			}
		case f.typ == sectionType:
			if section, ok := raw[f.key].(map[string]any); ok {
				addSection(add, path, section)
			}
		case strings.HasPrefix(at, "links"+delimiter) && value.IsZero(): // what a link does not have
		default:
			add(path, plain(value.Interface()))
		}
	}
}

// addSection lists what was set in the section of a driver.
func addSection(add func(path, value string), at string, section map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(section)) {
		path := join(at, key)
		if inner, ok := section[key].(map[string]any); ok && len(inner) > 0 && !looksSecret(key) {
			addSection(add, path, inner)
			continue
		}
		add(path, plain(redact(key, section[key])))
	}
}

// plain writes a value for people.
func plain(value any) string {
	switch v := value.(type) {
	case time.Duration:
		return short(v)
	case []string:
		if len(v) == 0 {
			return "[]"
		}
	case string:
		if strings.HasPrefix(v, redacted) {
			return v
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "(cannot be shown)"
	}
	return string(text)
}

// short writes a duration without the zeros at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// WriteDefaults writes the defaults as a configuration file. It lacks the name of
// the chain and its links.
func WriteDefaults(w io.Writer) error {
	var text strings.Builder
	writeYAML(&text, "", reflect.ValueOf(Default()))
	_, err := io.WriteString(w, text.String())
	return err
}

func writeYAML(w *strings.Builder, indent string, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		value := v.Field(f.index)
		switch {
		case f.isSection():
			fmt.Fprintf(w, "%s%s:\n", indent, f.key)
			writeYAML(w, indent+"  ", value)
		case f.typ == durationType:
			fmt.Fprintf(w, "%s%s: %s\n", indent, f.key, short(time.Duration(value.Int())))
		case !value.IsZero() || f.zero || f.typ.Kind() == reflect.Bool:
			fmt.Fprintf(w, "%s%s: %v\n", indent, f.key, value.Interface())
		}
	}
}
