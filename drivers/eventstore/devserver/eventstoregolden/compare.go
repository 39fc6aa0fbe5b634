// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var messageText = regexp.MustCompile(`message="(\\.|[^"\\])*"`)

// flat lists the lines of a result that are compared.
func flat(r Result, ignoreMessages bool) []string {
	var lines []string
	for _, s := range r.Steps {
		lines = append(lines, "> "+s.Do)
		for _, saw := range s.Saw {
			if ignoreMessages {
				saw = messageText.ReplaceAllString(saw, `message=*`)
			}
			lines = append(lines, "    "+saw)
		}
	}
	return lines
}

// comparison is what two records have in common. Cases are named area/name.
type comparison struct {
	gone      []string            // in the old record, and no case of this program
	added     []string            // in the new record only
	equal     []string            // in both
	different map[string][]string // in both, with the lines of the difference
}

// compare compares the cases of the new record with those of the old one.
func compare(old, now Golden, ignoreMessages bool) comparison {
	c := comparison{different: map[string][]string{}}
	known := map[string]bool{}
	for _, k := range cases {
		known[k.id()] = true
	}
	before := map[string]Result{}
	for _, r := range old.Cases {
		before[r.id()] = r
		if !known[r.id()] {
			c.gone = append(c.gone, r.id())
		}
	}
	for _, r := range now.Cases {
		o, ok := before[r.id()]
		a, b := flat(o, ignoreMessages), flat(r, ignoreMessages)
		switch {
		case !ok:
			c.added = append(c.added, r.id())
		case slices.Equal(a, b):
			c.equal = append(c.equal, r.id())
		default:
			c.different[r.id()] = diff(a, b)
		}
	}
	return c
}

func (c *comparison) print(w io.Writer) {
	for _, n := range c.gone {
		fmt.Fprintf(w, "GONE  %s is in the golden file but not in this program\n", n)
	}
	for _, n := range c.added {
		fmt.Fprintf(w, "NEW   %s is not in the golden file\n", n)
	}
	equal, all := map[string]int{}, map[string]int{}
	for _, n := range c.equal {
		equal[area(n)]++
		all[area(n)]++
	}
	for _, n := range slices.Sorted(maps.Keys(c.different)) {
		all[area(n)]++
		fmt.Fprintf(w, "DIFF  %s   (- golden, + this server)\n   %s\n\n", n, strings.Join(c.different[n], "\n   "))
	}
	for _, a := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(w, "%-14s %d of %d equal\n", a, equal[a], all[a])
	}
	fmt.Fprintf(w, "%d equal, %d different\n", len(c.equal), len(c.different))
}

func area(name string) string {
	a, _, _ := strings.Cut(name, "/")
	return a
}

// diff lists the lines of both, by their longest common subsequence.
func diff(a, b []string) []string {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i, x := range slices.Backward(a) {
		for j, y := range slices.Backward(b) {
			if x == y {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, "  "+a[i])
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}
