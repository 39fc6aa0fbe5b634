// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/understudy-dev/understudy/driver"
)

// Transition is an [Event] as [Chain.Status] keeps it, for people and programs
// that were not there when it came.
type Transition struct {
	At      time.Time      `json:"at"`
	Event   string         `json:"event"`   // see [Code]
	Details map[string]any `json:"details"` // the other fields, by their names in snake case; an error is a [Fault]
}

// Code returns the machine-readable name of an event: that of its type in snake
// case, such as "failed_over". It never changes.
func Code(e Event) string { return snake(reflect.TypeOf(e).Name()) }

// historyLength is how many transitions are kept.
const historyLength = 100

// history keeps the latest transitions.
type history struct {
	mu     sync.Mutex
	latest []Transition
}

func (h *history) add(t Transition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.latest) == historyLength {
		h.latest = append(h.latest[:0:0], h.latest[1:]...)
	}
	h.latest = append(h.latest, t)
}

// all returns what is kept, the oldest first.
func (h *history) all() []Transition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.latest)
}

func transitionOf(e Event) Transition {
	t := Transition{Event: Code(e), Details: map[string]any{}}
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		name, value := v.Type().Field(i).Name, v.Field(i).Interface()
		if at, ok := value.(time.Time); ok && name == "At" {
			t.At = at
			continue
		}
		t.Details[snake(name)] = plain(value)
	}
	return t
}

// plain returns a field of an event as it can be written as JSON for people.
func plain(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case error:
		return faultOf(v)
	case driver.Epoch:
		return EpochStatus{v.Number, v.Version, v.Active, v.State.String(), v.InSync}
	case time.Duration:
		return driver.Duration(v)
	}
	return value
}

// snake writes a Go name as a key: InFlight is in_flight, ID is id.
func snake(name string) string {
	var key strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			key.WriteByte('_')
		}
		key.WriteRune(unicode.ToLower(r))
	}
	return key.String()
}

// Fault is an error for people and programs.
type Fault struct {
	Class string `json:"class"` // of driver.ClassOf
	Text  string `json:"text"`
}

func faultOf(err error) *Fault {
	if err == nil {
		return nil
	}
	return &Fault{driver.ClassOf(err).String(), err.Error()}
}

// String returns the text.
func (f *Fault) String() string {
	if f == nil {
		return ""
	}
	return f.Text
}

// String returns the transition in one line.
func (t Transition) String() string {
	details, err := json.Marshal(t.Details)
	if err != nil {
		return fmt.Sprintf("%s %s", t.At.Format(time.RFC3339Nano), t.Event)
	}
	return fmt.Sprintf("%s %s %s", t.At.Format(time.RFC3339Nano), t.Event, details)
}
