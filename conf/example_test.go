// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	_ "github.com/understudy-dev/understudy/drivers/all" // or the drivers needed
)

// exampleFile makes a file of the text in a folder of its own, which remove takes
// away.
func exampleFile(text string) (path string, remove func()) {
	folder, err := os.MkdirTemp("", "example")
	if err == nil {
		path = filepath.Join(folder, "understudy.yaml")
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return path, func() { os.RemoveAll(folder) }
}

// All that is wrong is told at once, with its place.
func ExampleLoad() {
	file, remove := exampleFile(`chain: calls
links:
  - {name: first, driver: memory}
  - {name: second, drivr: memory}
policy:
  timeout: 10
`)
	defer remove()
	_, err := conf.Load(conf.Options{File: file, Environ: []string{"UNDERSTUDY_POLICY__RETRIES=many"}})
	if problems, ok := errors.AsType[conf.Problems](err); ok {
		for _, p := range problems {
			detail, _, _ := strings.Cut(p.Detail, ";")
			fmt.Printf("line %d: %s: %s\n", p.Origin.Line, p.Key, detail)
		}
	}
	// Output:
	// line 4: links.second.drivr: unknown key, perhaps "driver" is meant
	// line 6: policy.timeout: is the number 10: want a duration above 0 such as "2s" or "150ms"
	// line 0: policy.retries: is "many": want a whole number above 0
}

// A host program: it works by its file, and takes over what changes there in the
// policy while it runs.
func ExampleReload() {
	file, remove := exampleFile("chain: calls\nlinks: [{name: first, driver: memory}, {name: second, driver: memory}]\npolicy: {timeout: 5s}\nlog: {level: error}\n")
	defer remove()
	options := conf.Options{File: file}
	config, err := conf.Load(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	log := config.Log.Logger(os.Stderr)
	ctx, stop := context.WithCancel(context.Background()) // or signal.NotifyContext
	defer stop()
	c, err := chain.Open(ctx, config.ChainConfig(), chain.WithLogger(log))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	var reloads sync.WaitGroup
	reloads.Go(func() { conf.Reload(ctx, options, config, c, log) })

	fmt.Println(c.Policy().Timeout) // here the program does its work, until it is told to end

	stop()
	reloads.Wait()
	if err := c.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	// Output:
	// 5s
}

// Every value with where it comes from; secrets are redacted.
func ExampleConfig_Settings() {
	file, remove := exampleFile("chain: calls\nlinks: [{name: first, driver: redis, config: {password: {env: REDIS_PASSWORD}}}]\n")
	defer remove()
	config, err := conf.Load(conf.Options{File: file, Environ: []string{"REDIS_PASSWORD=swordfish", "UNDERSTUDY_POLICY__RETRIES=5"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	for _, s := range config.Settings() {
		switch s.Key {
		case "links.first.config.password":
			fmt.Println(s.Key, s.Value)
		case "policy.retries", "policy.timeout":
			fmt.Println(s.Key, s.Value, "-", s.Origin)
		}
	}
	// Output:
	// links.first.config.password [redacted] from {env: REDIS_PASSWORD}
	// policy.retries 5 - environment UNDERSTUDY_POLICY__RETRIES
	// policy.timeout 10s - default
}
