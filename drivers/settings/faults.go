// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// Faults collects what is wrong with a configuration. A fault names its key, what
// stands there and the form expected. The zero value is empty; methods must not be
// called concurrently.
type Faults struct{ found []error }

// Add adds a fault, unless err is nil.
func (f *Faults) Add(err error) {
	if err != nil {
		f.found = append(f.found, err)
	}
}

// If adds a fault if something is wrong; format and args are those of [fmt.Errorf].
func (f *Faults) If(wrong bool, format string, args ...any) {
	if wrong {
		f.Add(fmt.Errorf(format, args...))
	}
}

// Between adds a fault unless least ≤ value ≤ most.
func Between[T cmp.Ordered](f *Faults, key string, value, least, most T) {
	f.If(value < least || value > most, "%s is %v: want %v–%v", key, value, least, most)
}

// Err returns all faults as one [driver.Invalid] error of the driver of that name,
// in the order in which they were added; nil if there are none.
func (f *Faults) Err(name string) error {
	joined := errors.Join(f.found...)
	if joined == nil {
		return nil
	}
	return &driver.Error{Class: driver.Invalid, Store: name, Op: "configure",
		Detail: strings.ReplaceAll(joined.Error(), "\n", "; ")}
}
