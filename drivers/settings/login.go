// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"os"
	"strings"

	"github.com/understudy-dev/understudy/driver"
)

// Login is a user name and a password, each given as it is or in a file. The zero
// value is no login.
type Login struct {
	Username     string
	UsernameFile string
	Password     driver.Secret
	PasswordFile string
}

// HasName reports whether a user name is given, in either way.
func (l *Login) HasName() bool { return l.Username != "" || l.UsernameFile != "" }

// HasPassword reports whether a password is given, in either way.
func (l *Login) HasPassword() bool { return !l.Password.IsZero() || l.PasswordFile != "" }

// Check adds to f what contradicts itself. at stands before the keys, such as
// "sentinel."; it may be empty.
func (l *Login) Check(f *Faults, at string) {
	f.If(l.Username != "" && l.UsernameFile != "", "%[1]susername and %[1]susername_file exclude each other", at)
	f.If(!l.Password.IsZero() && l.PasswordFile != "", "%[1]spassword and %[1]spassword_file exclude each other", at)
	f.If(l.HasName() && !l.HasPassword(), "%[1]susername without a password: set %[1]spassword or %[1]spassword_file", at)
}

// Read returns the user name and the password as they stand now; what is not given
// is empty. A driver reads them for each new connection, so that they can be
// replaced in their files without a restart. The error names the key, with at as in
// [Login.Check], and never holds what is in a file.
func (l *Login) Read(at string) (username, password string, err error) {
	username, err = valueOrFile(l.Username, at+"username_file", l.UsernameFile)
	if err != nil {
		return "", "", err
	}
	password, err = valueOrFile(l.Password.Reveal(), at+"password_file", l.PasswordFile)
	if err != nil {
		return "", "", err
	}
	return username, password, nil
}

// valueOrFile returns value, or what the file holds without the line end.
func valueOrFile(value, key, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", key, err)
	}
	if value = strings.TrimRight(string(b), "\r\n"); value == "" {
		return "", fmt.Errorf("%s: %s is empty", key, file)
	}
	return value, nil
}
