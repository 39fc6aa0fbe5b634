// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/understudy-dev/understudy/driver"
)

// delimiter parts the keys of a path inside this package. Unlike a dot it is in no
// name of a link.
const delimiter = "/"

// Options say where a configuration comes from.
type Options struct {
	// File is the path of the YAML file. Empty: what the environment variable
	// UNDERSTUDY_CONFIG names.
	File string
	// Environ is the environment, as of os.Environ. Nil: that of the process.
	Environ []string
	// Set are settings of the command line, KEY=VALUE each, the later ones winning.
	Set []string
}

// AddFlags adds -config and -set to the flags of a program; parsing fs fills o.
func (o *Options) AddFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.File, "config", o.File, "`file` of the configuration (default: what the environment variable "+configVariable+" names)")
	fs.Func("set", "`key=value` in the place of what file and environment say, such as policy.timeout=5s; several", func(s string) error {
		o.Set = append(o.Set, s)
		return nil
	})
}

// loader puts a configuration together.
type loader struct {
	file     string
	sum      checksum // of the file
	environ  []string
	problems Problems
	origins  map[string]Origin // by path; see originOf
	links    []string          // the names, as they stand in paths, in order
	named    map[string]bool   // environment variables that hold secrets
}

// Load reads the file, then the environment, then the settings of the command
// line, each over what stood before, and checks the whole. The error is
// [Problems], unless the file cannot be read.
//
// The sections of drivers are not checked here, since the driver is not at hand:
// opening the chain does it, and so does [chain.CheckLinks].
func Load(o Options) (*Config, error) {
	l := &loader{file: o.File, environ: o.Environ, origins: map[string]Origin{}, named: map[string]bool{}}
	if l.environ == nil {
		l.environ = os.Environ()
	}
	configured, _ := l.lookupEnv(configVariable)
	if l.file = cmp.Or(l.file, configured); l.file == "" {
		return nil, errors.New("no configuration file is named: want -config FILE or the environment variable " + configVariable)
	}
	k := koanf.New(delimiter)
	if err := k.Load(file.Provider(l.file), &fileParser{loader: l}); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if err := k.Load(env.Provider(delimiter, env.Opt{Prefix: envPrefix, EnvironFunc: l.sortedEnviron, TransformFunc: l.fromEnviron}), nil); err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	if err := k.Load(confmap.Provider(l.fromFlags(o.Set), delimiter), nil); err != nil {
		return nil, fmt.Errorf("read the command line: %w", err)
	}
	raw := k.Raw()
	c, err := l.decode(k)
	if err != nil {
		return nil, err
	}
	l.check(c)
	if len(l.problems) > 0 {
		return nil, l.problems.sorted()
	}
	c.fill()
	c.settings, c.file, c.sum = l.settings(c, raw), l.file, l.sum
	return c, nil
}

// decode makes a Config of the merged layers, whose values are of the right types.
func (l *loader) decode(k *koanf.Koanf) (*Config, error) {
	byName, _ := k.Raw()["links"].(map[string]any)
	links := make([]any, len(l.links))
	sections := make([]driver.Secret, len(l.links))
	for i, name := range l.links {
		link, _ := byName[name].(map[string]any)
		if section, ok := link["config"]; ok {
			sections[i] = l.reveal(join("links", name, "config"), section)
			delete(link, "config")
		}
		links[i] = link
	}
	if err := k.Set("links", links); err != nil {
		return nil, fmt.Errorf("put the links in order: %w", err)
	}
	var c Config
	if err := k.Unmarshal("", &c); err != nil {
		return nil, fmt.Errorf("decode the configuration: %w", err)
	}
	if c.ReportDir != "" {
		c.ReportDir = l.absolute("report_dir", c.ReportDir)
	}
	for i := range c.Links {
		c.Links[i].Config = sections[i]
		path := join("links", l.links[i], "plugin")
		if plugin := c.Links[i].Plugin; plugin != "" {
			c.Links[i].Plugin = l.absolute(path, plugin)
		}
	}
	return &c, nil
}

func join(path ...string) string { return strings.Join(path, delimiter) }

// shown returns a path as people write keys.
func shown(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, delimiter+"[", "["), delimiter, ".")
}

// originOf returns where the value at path comes from: it was set itself, or with
// the section it stands in. What was never set is of the defaults.
func (l *loader) originOf(path string) Origin {
	for {
		if origin, ok := l.origins[path]; ok {
			return origin
		}
		up := strings.LastIndex(path, delimiter)
		if up < 0 {
			return Origin{}
		}
		path = path[:up]
	}
}

func (l *loader) bad(origin Origin, path, format string, args ...any) {
	l.problems = append(l.problems, Problem{Origin: origin, Key: shown(path), Detail: fmt.Sprintf(format, args...)})
}

// lookupEnv returns the value of an environment variable.
func (l *loader) lookupEnv(name string) (string, bool) {
	for _, variable := range slices.Backward(l.environ) {
		if key, value, ok := strings.Cut(variable, "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}
