// SPDX-License-Identifier: Apache-2.0

// Command gendoc writes docs/configuration.md from the structs of the
// configuration and those of the drivers, their comments and the sample. It runs
// in the folder of package conf:
//
//	go run ./internal/gendoc -o ../docs/configuration.md
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "", "`file` to write")
	flag.Parse()
	if err := run(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}

// run writes the page about the package conf in the folder dir.
func run(dir, out string) error {
	page, err := makePage(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(out, []byte(page), 0o644)
}
