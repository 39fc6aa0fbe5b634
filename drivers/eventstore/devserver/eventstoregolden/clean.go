// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	uuidRe = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	addrRe = regexp.MustCompile(`(\d{1,3}\.){3}\d{1,3}:\d+`)
	cpRe   = regexp.MustCompile(`C:\d+/P:\d+`)
	markRe = regexp.MustCompile(`⟦([AC])(\d+)⟧`)
)

// clean removes what differs from run to run: the suffix, UUIDs, addresses.
func (t *T) clean(s string) string {
	s = strings.ReplaceAll(s, "-"+t.tag, "")
	s = strings.ReplaceAll(s, t.tag, "TAG")
	s = uuidRe.ReplaceAllStringFunc(s, func(u string) string { return t.label(strings.ToLower(u)) })
	if h := t.cfg.URL; h != "" {
		s = strings.ReplaceAll(s, h, "SERVER")
	}
	s = addrRe.ReplaceAllString(s, "ADDR")
	return cpRe.ReplaceAllString(s, "C:#/P:#")
}

// label names a UUID after the event that the case calls so, or numbers it if the server made it.
func (t *T) label(u string) string {
	if u == "00000000-0000-0000-0000-000000000000" {
		return "nil-uuid"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l, ok := t.labels[u]; ok {
		return "id:" + l
	}
	t.unknown++
	l := fmt.Sprintf("server%d", t.unknown)
	t.labels[u] = l
	return "id:" + l
}

// finish ends the observation and replaces positions by their rank among the positions of events and results seen
// in this case; other positions (checkpoints) are placed between them.
func (t *T) finish(c Case) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	ranks := t.positions()
	for i := range t.steps {
		step := &t.steps[i]
		step.Do = markRe.ReplaceAllStringFunc(step.Do, func(m string) string { return place(m, ranks) })
		for j := range step.Saw {
			step.Saw[j] = markRe.ReplaceAllStringFunc(step.Saw[j], func(m string) string { return place(m, ranks) })
		}
	}
	return Result{Area: c.Area, Name: c.Name, Steps: t.steps}
}

// positions are those of the events and results seen, in order and each once.
func (t *T) positions() []uint64 {
	var all []uint64
	note := func(line string) {
		for _, m := range markRe.FindAllStringSubmatch(line, -1) {
			if m[1] == "A" {
				all = append(all, parsePosition(m[2]))
			}
		}
	}
	for _, s := range t.steps {
		note(s.Do)
		for _, saw := range s.Saw {
			note(saw)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// place names a marked position by its rank.
func place(marked string, ranks []uint64) string {
	v := parsePosition(markRe.FindStringSubmatch(marked)[2])
	i, found := slices.BinarySearch(ranks, v)
	switch {
	case found:
		return fmt.Sprintf("p%d", i+1)
	case v == 0:
		return "zero"
	case i == 0:
		return "before-p1"
	}
	return fmt.Sprintf("after-p%d", i)
}

// parsePosition reads the digits of a mark, which this program wrote itself.
func parsePosition(digits string) uint64 {
	v, _ := strconv.ParseUint(digits, 10, 64)
	return v
}
