// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/understudy-dev/understudy/driver"
)

// fileParser reads the file for koanf, keeps the line of each key, and checks keys
// and types while it goes.
type fileParser struct {
	*loader
	visited int
}

// What aliases may make of a file.
const (
	maxNodes = 100_000 // values
	maxDepth = 100     // sections in one another
)

var errTooLarge = fmt.Errorf("more than %d values, or %d sections in one another: does an anchor hold itself?", maxNodes, maxDepth)

// Marshal implements koanf.Parser.
func (f *fileParser) Marshal(map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }

// Unmarshal implements koanf.Parser. The links, a list in the file, are a map by
// name in what it returns, so that the environment can name them.
func (f *fileParser) Unmarshal(text []byte) (map[string]any, error) {
	f.sum = sha256.Sum256(text)
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF): // empty
		return map[string]any{}, nil
	case err != nil:
		return nil, fmt.Errorf("%s: not valid YAML: %s", f.file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		f.bad(Origin{File: f.file}, "", "more than one YAML document: want one")
	}
	root := f.section(doc.Content[0], configType, "")
	if f.visited > maxNodes {
		return nil, fmt.Errorf("%s: %w", f.file, errTooLarge)
	}
	return root, nil
}

func (f *fileParser) at(n *yaml.Node) Origin { return Origin{File: f.file, Line: n.Line} }

// resolve follows an alias, and counts.
func (f *fileParser) resolve(n *yaml.Node) *yaml.Node {
	if f.visited++; f.visited > maxNodes {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// entry is a key of a mapping, and its value, which is no alias.
type entry struct {
	key         string
	name, value *yaml.Node
}

// entries returns the keys of a mapping in their order, those that it merges from
// others last.
func (f *fileParser) entries(n *yaml.Node, path string) []entry {
	var own, merged []entry
	known := func(list []entry, key string) int {
		return slices.IndexFunc(list, func(e entry) bool { return e.key == key })
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := f.resolve(n.Content[i]), f.resolve(n.Content[i+1])
		if name.ShortTag() == "!!merge" {
			merged = append(merged, f.merged(value, path)...)
			continue
		}
		if name.Kind != yaml.ScalarNode {
			f.bad(f.at(n.Content[i]), path, "a key is not a text")
			continue
		}
		if first := known(own, name.Value); first >= 0 {
			f.bad(f.at(n.Content[i]), under(path, name.Value), "set before, in line %d", own[first].name.Line)
			continue
		}
		own = append(own, entry{name.Value, n.Content[i], value})
	}
	for _, e := range merged {
		if known(own, e.key) < 0 {
			own = append(own, e)
		}
	}
	return own
}

// merged returns what the value of a key << brings along.
func (f *fileParser) merged(n *yaml.Node, path string) []entry {
	switch n.Kind {
	case yaml.MappingNode:
		return f.entries(n, path)
	case yaml.SequenceNode:
		var all []entry
		for _, one := range n.Content {
			all = append(all, f.merged(f.resolve(one), path)...)
		}
		return all
	}
	f.bad(f.at(n), path, "<< is %s: want a section or a list of sections", kindOf(n))
	return nil
}

func under(path, key string) string {
	if path == "" {
		return key
	}
	return join(path, key)
}

// section reads a section whose keys are those of the struct t.
func (f *fileParser) section(n *yaml.Node, t reflect.Type, path string) map[string]any {
	values := map[string]any{}
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" { // all its keys may be comments
			f.bad(f.at(n), path, "is %s: want a section", kindOf(n))
		}
		return values
	}
	for _, e := range f.entries(n, path) {
		key := under(path, e.key)
		fld, ok := fieldOf(t, e.key)
		if !ok {
			f.bad(f.at(e.name), key, "%s", unknownKey(t, e.key))
			continue
		}
		if !fld.isSection() { // what it does not set is still of the defaults
			f.origins[key] = f.at(e.name)
		}
		if value := f.value(e.value, &fld, key); value != nil {
			values[e.key] = value
		}
	}
	return values
}

// value reads what a key of the host's own holds; nil if there is nothing or it is
// wrong.
func (f *fileParser) value(n *yaml.Node, fld *field, path string) any {
	switch {
	case fld.isSection():
		return f.section(n, fld.typ, path)
	case fld.typ == sectionType:
		return f.driverSection(n, path)
	case fld.typ == linksType:
		return f.linkList(n, path)
	case fld.typ == textsType:
		return f.texts(n, fld, path)
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == fld.tag() {
		if value, ok := fld.parse(n.Value); ok {
			return value
		}
		f.bad(f.at(n), path, "is %q: want %s", n.Value, fld.form())
		return nil
	}
	f.bad(f.at(n), path, "is %s: want %s", kindOf(n), fld.form())
	return nil
}

func (f *fileParser) texts(n *yaml.Node, fld *field, path string) any {
	if n.Kind != yaml.SequenceNode {
		f.bad(f.at(n), path, "is %s: want %s", kindOf(n), fld.form())
		return nil
	}
	texts := make([]string, 0, len(n.Content))
	for _, one := range n.Content {
		if one = f.resolve(one); one.Kind != yaml.ScalarNode || one.ShortTag() != "!!str" {
			f.bad(f.at(one), path, "holds %s: want %s", kindOf(one), fld.form())
			continue
		}
		texts = append(texts, one.Value)
	}
	return texts
}

// linkList reads the links. One without a usable name is known by its place, so
// that what else is wrong with it is found too.
func (f *fileParser) linkList(n *yaml.Node, path string) any {
	if n.Kind != yaml.SequenceNode {
		if n.ShortTag() != "!!null" {
			f.bad(f.at(n), path, "is %s: want a list of links, each with its name", kindOf(n))
		}
		return nil
	}
	links := map[string]any{}
	for i, one := range n.Content {
		one = f.resolve(one)
		id := f.linkName(one)
		if id == "" || slices.Contains(f.links, id) {
			id = fmt.Sprintf("[%d]", i)
		}
		f.links = append(f.links, id)
		f.origins[join(path, id)] = f.at(one)
		links[id] = f.section(one, linkType, join(path, id))
	}
	return links
}

// linkName returns the name of a link, "" if it has no valid one.
func (f *fileParser) linkName(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if value := f.resolve(n.Content[i+1]); n.Content[i].Value == "name" && driver.ValidateName("name", value.Value) == nil {
			return value.Value
		}
	}
	return ""
}

// driverSection reads the section of a driver, whose keys are the driver's.
func (f *fileParser) driverSection(n *yaml.Node, path string) any {
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" {
			f.bad(f.at(n), path, "is %s: want a section, the driver's own", kindOf(n))
		}
		return nil
	}
	return f.opaque(n, path)
}

// opaque reads any value. The values that it returns can be written as JSON, or
// are references.
func (f *fileParser) opaque(n *yaml.Node, path string) any {
	if strings.Count(path, delimiter) > maxDepth {
		f.visited = maxNodes + 1
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		entries := f.entries(n, path)
		if len(entries) == 1 && entries[0].value.ShortTag() == "!!str" {
			if ref, ok := newReference(entries[0].key, entries[0].value.Value); ok {
				f.remember(ref)
				return ref
			}
		}
		section := map[string]any{}
		for _, e := range entries {
			f.origins[join(path, e.key)] = f.at(e.name)
			section[e.key] = f.opaque(e.value, join(path, e.key))
		}
		return section
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, one := range n.Content {
			list[i] = f.opaque(f.resolve(one), path)
		}
		return list
	}
	value, err := scalar(n)
	if err != nil {
		f.bad(f.at(n), path, "%v", err)
	}
	return value
}

// scalar returns a single value. Errors do not quote it.
func scalar(n *yaml.Node) (any, error) {
	var err error
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool":
		var b bool
		err = n.Decode(&b)
		return b, wrongScalar(err)
	case "!!int":
		var i any
		err = n.Decode(&i)
		return i, wrongScalar(err)
	case "!!float":
		var x float64
		if err = n.Decode(&x); err == nil && (math.IsInf(x, 0) || math.IsNaN(x)) {
			return nil, errors.New("is not a finite number: want a finite one, or a text in quotes")
		}
		return x, wrongScalar(err)
	case "!!str", "!!timestamp":
		return n.Value, nil
	}
	return nil, fmt.Errorf("has the tag %s: want a value without a tag", n.Tag)
}

func wrongScalar(err error) error {
	if err != nil {
		return errors.New("is not what its tag says")
	}
	return nil
}

// kindOf names what a value is, for people.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "empty"
	case n.ShortTag() == "!!int" || n.ShortTag() == "!!float":
		return "the number " + n.Value
	case n.ShortTag() == "!!bool":
		return "the truth value " + n.Value
	}
	return fmt.Sprintf("%q", n.Value)
}
