// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
)

// config is what the configuration file says about the driver. The zero value is
// that of no file.
type config struct {
	driver   json.RawMessage // the driver's own section
	declares []driver.Capability
	stated   bool // the file has declares
	excuse   map[string]string
	timeout  time.Duration // of a case; 0: that of the suite
}

// file is the form of the configuration file.
type file struct {
	Config   any       `yaml:"config"`
	Declares yaml.Node `yaml:"declares"`
	Excuse   yaml.Node `yaml:"excuse"`
	Timeout  yaml.Node `yaml:"timeout"`
}

const fileKeys = "config, declares, excuse, timeout"

// readConfig reads the configuration file; an empty path is none. Errors name the
// line.
func readConfig(path string) (config, error) {
	if path == "" {
		return config{}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := parseConfig(text)
	if err != nil {
		return config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseConfig(text []byte) (config, error) {
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return config{}, plain(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return config{}, errors.New("more than one YAML document")
	}
	var c config
	if err := c.readDriver(f.Config); err != nil {
		return config{}, err
	}
	if err := c.readDeclares(&f.Declares); err != nil {
		return config{}, err
	}
	if err := c.readExcuse(&f.Excuse); err != nil {
		return config{}, err
	}
	err := c.readTimeout(&f.Timeout)
	return c, err
}

var unknownKey = regexp.MustCompile(`line (\d+): field (\S+) not found in type .*`)

// plain puts an error of the YAML library in words that do not speak of Go types.
func plain(err error) error {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	lines := slices.Clone(wrong.Errors)
	for i := range lines {
		lines[i] = unknownKey.ReplaceAllString(lines[i], `line $1: unknown key "$2", known keys: `+fileKeys)
	}
	return errors.New(strings.Join(lines, "; "))
}

func (c *config) readDriver(section any) error {
	if section == nil {
		return nil
	}
	if _, isSection := section.(map[string]any); !isSection {
		return errors.New("config: want a section, the driver's own, whose keys are texts")
	}
	var err error
	if c.driver, err = json.Marshal(section); err != nil {
		return errors.New("config: it cannot be written as JSON, which is how the driver gets it: want texts as keys, and numbers that are finite")
	}
	return nil
}

func (c *config) readDeclares(n *yaml.Node) error {
	if n.IsZero() {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: declares: want a list, any of %q", n.Line, driver.Capabilities())
	}
	c.stated = true
	for _, item := range n.Content {
		capability := driver.Capability(item.Value)
		if !slices.Contains(driver.Capabilities(), capability) {
			return fmt.Errorf("line %d: declares: unknown capability %q, want any of %q", item.Line, item.Value, driver.Capabilities())
		}
		c.declares = append(c.declares, capability)
	}
	return nil
}

func (c *config) readExcuse(n *yaml.Node) error {
	if n.IsZero() {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: excuse: want a section with cases and reasons, such as ClaimOrder/InOneAnswer: \"why\"", n.Line)
	}
	known := contracttest.Cases()
	c.excuse = map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, reason := n.Content[i], n.Content[i+1]
		if !slices.ContainsFunc(known, func(c contracttest.Case) bool { return c.FullName() == name.Value }) {
			return fmt.Errorf("line %d: excuse: there is no case %q: -list prints them", name.Line, name.Value)
		}
		if reason.Kind != yaml.ScalarNode || strings.TrimSpace(reason.Value) == "" {
			return fmt.Errorf("line %d: excuse: %q has no reason: want a text that says why the driver does not pass", name.Line, name.Value)
		}
		c.excuse[name.Value] = reason.Value
	}
	return nil
}

func (c *config) readTimeout(n *yaml.Node) error {
	if n.IsZero() {
		return nil
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || d <= 0 {
		return fmt.Errorf("line %d: timeout: %q: want how long a case may take, such as \"30s\"", n.Line, n.Value)
	}
	c.timeout = d
	return nil
}
