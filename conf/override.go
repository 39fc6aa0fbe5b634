// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	envPrefix      = "UNDERSTUDY_"
	configVariable = envPrefix + "CONFIG"
	envSeparator   = "__"
)

// reservedPrefixes begin variables that are no settings: those between a host and
// its plugins, and those that tell tests of an Event Store.
var reservedPrefixes = []string{envPrefix + "PLUGIN", envPrefix + "EVENTSTORE_"}

func (l *loader) sortedEnviron() []string { return slices.Sorted(slices.Values(l.environ)) }

// fromEnviron gives the path and the value that a variable sets; "" if none.
func (l *loader) fromEnviron(name, text string) (path string, value any) {
	reserved := slices.ContainsFunc(reservedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	if reserved || name == configVariable || l.named[name] {
		return "", nil
	}
	o := override{loader: l, origin: Origin{Env: name}, separator: envSeparator, fold: envName}
	path, value, ok := o.read(strings.ToLower(strings.TrimPrefix(name, envPrefix)), text)
	if before := l.origins[path]; ok && before.Env != "" { // the names differ in case
		l.bad(o.origin, path, "set by the %s too: want one of the two", before)
		return "", nil
	}
	if !ok || !l.fits(path, value, o.origin, func(other Origin) bool { return other.Env != "" }) {
		return "", nil
	}
	return path, value
}

// envName is a name as it can stand in that of a variable, in lower case.
func envName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, name)
}

// fromFlags gives the values by path that the command line sets.
func (l *loader) fromFlags(set []string) map[string]any {
	values := map[string]any{}
	for _, setting := range set {
		key, text, ok := strings.Cut(setting, "=")
		o := override{loader: l, origin: Origin{Flag: key}, separator: ".", fold: func(s string) string { return s }}
		if !ok || key == "" {
			l.bad(Origin{Flag: setting}, "", "want KEY=VALUE, such as policy.timeout=5s")
			continue
		}
		if path, value, ok := o.read(key, text); ok && l.fits(path, value, o.origin, func(other Origin) bool { return other.Flag != "" }) {
			values[path] = value
		}
	}
	return values
}

// fits takes down where a value comes from, unless the same layer sets as a whole and a part of it, which has no certain outcome.
func (l *loader) fits(path string, value any, origin Origin, sameLayer func(Origin) bool) bool {
	for other, from := range l.origins {
		if sameLayer(from) && (strings.HasPrefix(other, path+delimiter) || strings.HasPrefix(path, other+delimiter)) {
			l.bad(origin, path, "set as a whole and in part (%s): want one of the two", from)
			return false
		}
	}
	l.originate(path, value, origin)
	return true
}

// originate takes down where the value at path, and all inside it, come from.
func (l *loader) originate(path string, value any, origin Origin) {
	l.origins[path] = origin
	if section, ok := value.(map[string]any); ok {
		for key, one := range section {
			l.originate(join(path, key), one, origin)
		}
	}
}

// override is one setting of the environment or the command line.
type override struct {
	*loader
	origin    Origin
	separator string                   // between the keys of its name
	fold      func(name string) string // how its name writes that of a link
}

// read finds the key that a setting names, and reads its value.
func (o *override) read(name, text string) (path string, value any, ok bool) {
	path, rest, fld, err := o.find(configType, "", name)
	if err != nil {
		o.bad(o.origin, "", "%v", err)
		return "", nil, false
	}
	switch {
	case fld.typ == sectionType:
		value, err = o.opaque(rest, text)
		if rest != "" {
			path = join(path, strings.ReplaceAll(rest, o.separator, delimiter))
		}
		if strings.Contains(path+delimiter, delimiter+delimiter) {
			err = errors.New("a key between two separators is empty")
		}
	case fld.typ == textsType:
		value = splitTexts(text)
	case fld.typ == linksType || fld.isSection() || path == "links" || strings.HasSuffix(path, "/name"):
		err = errors.New("only the file can set it")
	default:
		parsed, fits := fld.parse(text)
		if value = parsed; !fits {
			err = fmt.Errorf("is %q: want %s", text, fld.form())
		}
	}
	if err != nil {
		o.bad(o.origin, path, "%v", err)
	}
	return path, value, err == nil
}

// find follows the keys of name into the sections of t, which stands at path. rest
// is what it names inside the section of a driver.
func (o *override) find(t reflect.Type, at, name string) (path, rest string, fld field, err error) {
	for _, fld := range fieldsOf(t) {
		rest, deeper := strings.CutPrefix(name, fld.key+o.separator)
		path := under(at, fld.key)
		switch {
		case name == fld.key:
			return path, "", fld, nil
		case !deeper:
		case fld.isSection():
			return o.find(fld.typ, path, rest)
		case fld.typ == linksType:
			return o.findLink(path, rest)
		case fld.typ == sectionType:
			return path, rest, fld, nil
		}
	}
	key, _, _ := strings.Cut(name, o.separator)
	return "", "", field{}, fmt.Errorf("%s: %s", shown(under(at, key)), unknownKey(t, key))
}

// findLink is find in the link that name begins with. The names of several links can
// be the beginning of it.
func (o *override) findLink(at, name string) (path, rest string, fld field, err error) {
	link, _, _ := strings.Cut(name, o.separator)
	err = fmt.Errorf("%s.%s: no such link and key; links of the file: %s", at, link, strings.Join(o.links, ", "))
	var meant []string
	for _, link := range o.links {
		inside, ok := strings.CutPrefix(name, o.fold(link)+o.separator)
		if !ok {
			continue
		}
		p, r, f, failed := o.find(linkType, join(at, link), inside)
		if failed != nil {
			err = failed
			continue
		}
		path, rest, fld, meant = p, r, f, append(meant, link)
	}
	switch len(meant) {
	case 0:
		return "", "", field{}, err
	case 1:
		return path, rest, fld, nil
	}
	return "", "", field{}, fmt.Errorf("%s: means a key of more than one link, %s: set it in the file", at, strings.Join(meant, ", "))
}

// opaque reads a value for a driver's section, written as in the file. The value
// of a key that names a secret is a text as it stands, unless it is a reference.
// Errors do not quote it.
func (o *override) opaque(key, text string) (any, error) {
	var doc yaml.Node
	f := fileParser{loader: &loader{origins: map[string]Origin{}, named: o.named}}
	err := yaml.Unmarshal([]byte(text), &doc)
	var value any = text
	if err == nil && len(doc.Content) > 0 {
		value = f.opaque(f.resolve(doc.Content[0]), "")
	}
	_, isReference := value.(reference)
	_, isSection := value.(map[string]any)
	switch {
	case key == "" && !isSection:
		return nil, errors.New("want a section, such as {key: value}")
	case isReference:
		return value, nil
	case looksSecret(key) && o.origin.Flag != "":
		return nil, errors.New("a secret does not belong on a command line, which others can see: want {env: NAME} or {file: PATH}")
	case looksSecret(key) && !utf8.ValidString(text):
		return nil, errNotUTF8
	case looksSecret(key):
		return text, nil
	case err != nil || f.visited > maxNodes || len(f.problems) > 0:
		return nil, errors.New("is not a value as it would stand in the file: put a text in quotes")
	}
	return value, nil
}

// splitTexts reads a list of texts: by commas.
func splitTexts(text string) []string {
	texts := []string{}
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			texts = append(texts, one)
		}
	}
	return texts
}
