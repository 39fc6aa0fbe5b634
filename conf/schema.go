// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// What the keys may hold follows from the fields of Config.
var (
	configType   = reflect.TypeFor[Config]()
	linksType    = reflect.TypeFor[[]Link]()
	linkType     = reflect.TypeFor[Link]()
	textsType    = reflect.TypeFor[[]string]()
	durationType = reflect.TypeFor[time.Duration]()
	sectionType  = reflect.TypeFor[driver.Secret]() // a driver's own
)

// field is a key of a section.
type field struct {
	key      string
	name     string // of the Go field
	index    int
	typ      reflect.Type
	oneof    []string // the words allowed; none: any text
	negative bool     // a number or duration below 0 means something
	zero     bool     // 0 means something, other than the default
}

func (f *field) isSection() bool { return f.typ.Kind() == reflect.Struct && f.typ != sectionType }

// fieldsOf returns the keys of the section that a struct describes, in its order.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("koanf"); key != "" {
			tag := t.Field(i).Tag
			fields = append(fields, field{key: key, name: t.Field(i).Name, index: i, typ: t.Field(i).Type,
				oneof: strings.Fields(tag.Get("oneof")), negative: tag.Get("negative") == "ok",
				zero: tag.Get("zero") == "ok"})
		}
	}
	return fields
}

func fieldOf(t reflect.Type, key string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// form says what is expected of a value, for people.
func (f *field) form() string {
	switch {
	case len(f.oneof) > 0:
		return "one of " + strings.Join(f.oneof, ", ")
	case f.typ == durationType && f.negative:
		return `a duration such as "2s" or "72h", or a negative one; leave the key out for the default`
	case f.typ == durationType && f.zero:
		return `a duration such as "2s" or "150ms", or "0s"`
	case f.typ == durationType:
		return `a duration above 0 such as "2s" or "150ms"; leave the key out for the default`
	case f.typ.Kind() == reflect.Bool:
		return "true or false"
	case f.typ.Kind() == reflect.Int && f.zero:
		return "a whole number, 0 or above"
	case f.typ.Kind() == reflect.Int:
		return "a whole number above 0; leave the key out for the default"
	case f.typ == linksType:
		return "a list of links, each with its name"
	case f.typ == textsType:
		return "a list of texts"
	case f.typ.Kind() == reflect.Struct:
		return "a section"
	}
	return "a text; put it in quotes if it looks like something else"
}

// tag is the YAML tag of a single value of the field.
func (f *field) tag() string {
	switch {
	case f.typ.Kind() == reflect.Bool:
		return "!!bool"
	case f.typ.Kind() == reflect.Int && f.typ != durationType:
		return "!!int"
	}
	return "!!str"
}

// parse reads a single value. What it returns is of the type of the field.
func (f *field) parse(text string) (any, bool) {
	switch {
	case f.typ == durationType:
		d, err := time.ParseDuration(text)
		return d, err == nil && (d > 0 || d < 0 && f.negative || d == 0 && f.zero)
	case f.typ.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		return b, err == nil
	case f.typ.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		return n, err == nil && (n > 0 || n == 0 && f.zero)
	case f.typ.Kind() == reflect.String:
		return text, len(f.oneof) == 0 || slices.Contains(f.oneof, text)
	}
	return nil, false
}

// unknownKey says that a section has no such key, and which was perhaps meant.
// The keys of t stand under prefix.
func unknownKey(t reflect.Type, key string) string {
	var known []string
	nearest, distance := "", max(2, len(key)/3)+1
	for _, f := range fieldsOf(t) {
		known = append(known, f.key)
		if d := editDistance(key, f.key); d < distance {
			nearest, distance = f.key, d
		}
	}
	if nearest == "" {
		nearest = elsewhere(key)
	}
	if nearest != "" {
		return fmt.Sprintf("unknown key, perhaps %q is meant; known keys: %s", nearest, strings.Join(known, ", "))
	}
	return "unknown key; known keys: " + strings.Join(known, ", ")
}

// elsewhere returns the full key of the section that has a key, "" if none has.
func elsewhere(key string) string {
	if _, ok := fieldOf(configType, key); ok {
		return key + " of the file itself"
	}
	return strings.ReplaceAll(inside(configType, key), delimiter, ".")
}

// inside returns the path of a key in the sections inside t, "" if none has it.
func inside(t reflect.Type, key string) string {
	for _, section := range fieldsOf(t) {
		if !section.isSection() {
			continue
		}
		if _, ok := fieldOf(section.typ, key); ok {
			return join(section.key, key)
		}
		if deeper := inside(section.typ, key); deeper != "" {
			return join(section.key, deeper)
		}
	}
	return ""
}

// editDistance is the number of letters to insert, remove or replace on the way
// from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
