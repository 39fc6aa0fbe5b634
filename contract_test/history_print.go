// SPDX-License-Identifier: Apache-2.0

package contracttest

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// String returns s as it stands in a Go program, without the fields that are zero.
func (s Step) String() string { return literal(reflect.ValueOf(s)) }

// String returns w as it stands in a Go program, without the fields that are zero.
func (w Write) String() string { return literal(reflect.ValueOf(w)) }

// goTest returns a Go test that replays the history, to be pasted.
func goTest(history []Step) string {
	var b strings.Builder
	b.WriteString("func TestHistory(t *testing.T) {\n\tcontracttest.Replay(t, harness, []contracttest.Step{\n")
	for _, s := range history {
		fmt.Fprintf(&b, "\t\t%s,\n", s)
	}
	b.WriteString("\t})\n}\n")
	return b.String()
}

func literal(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		var fields []string
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				fields = append(fields, v.Type().Field(i).Name+": "+literal(v.Field(i)))
			}
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case reflect.Slice:
		elements := make([]string, v.Len())
		for i := range elements {
			elements[i] = literal(v.Index(i))
		}
		return v.Type().String() + "{" + strings.Join(elements, ", ") + "}"
	case reflect.String:
		return strconv.Quote(v.String())
	}
	switch c := v.Interface().(type) {
	case driver.Status:
		if c <= driver.Held {
			return "driver." + strings.ToUpper(c.String()[:1]) + c.String()[1:]
		}
	case driver.EpochState:
		if c == driver.Handover {
			return "driver.Handover"
		}
	}
	return fmt.Sprintf("%#v", v.Interface())
}
