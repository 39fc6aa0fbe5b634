// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/understudy-dev/understudy/driver"
)

// reference stands in the place of a secret in the section of a driver: "env:" or
// "file:", and the name. In a file it is written as {env: NAME} or {file: PATH}.
type reference string

const (
	envReference  = "env"
	fileReference = "file"
)

// newReference returns the reference that a section with a single key is.
func newReference(key, value string) (reference, bool) {
	return reference(key + ":" + value), key == envReference || key == fileReference
}

// remember keeps the variable of a reference from being taken for a setting.
func (l *loader) remember(r reference) {
	if kind, name, _ := strings.Cut(string(r), ":"); kind == envReference {
		l.named[name] = true
	}
}

// String returns the reference as it is written in a file.
func (r reference) String() string {
	kind, name, _ := strings.Cut(string(r), ":")
	return fmt.Sprintf("{%s: %s}", kind, name)
}

// errNotUTF8 refuses a secret that would reach the driver as another one: JSON has
// no other texts.
var errNotUTF8 = errors.New("is not UTF-8, as which alone the driver can get it")

// maxSecret bounds a file that holds a secret, in bytes.
const maxSecret = 64 << 10

// fetch returns what a reference at path stands for. Nothing at all is no secret:
// it would be taken for a login without a password.
func (l *loader) fetch(r reference, path string) (string, error) {
	secret, err := l.held(r, path)
	switch {
	case err != nil:
		return "", err
	case secret == "":
		return "", fmt.Errorf("%s: is empty: want the secret; leave the key out for none", r)
	case !utf8.ValidString(secret):
		return "", fmt.Errorf("%s: %w", r, errNotUTF8)
	}
	return secret, nil
}

// held returns what is found at a reference at path. Of a file, the last end of line does
// not count.
func (l *loader) held(r reference, path string) (string, error) {
	kind, name, _ := strings.Cut(string(r), ":")
	if kind == envReference {
		value, ok := l.lookupEnv(name)
		if !ok {
			return "", fmt.Errorf("%s: the environment variable is not set", r)
		}
		return value, nil
	}
	f, err := os.Open(l.absolute(path, name))
	if err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	if len(text) > maxSecret {
		return "", fmt.Errorf("%s: more than %d bytes: want a file that holds the secret alone", r, maxSecret)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// reveal returns the section of a driver as JSON, with the secrets in the place of
// the references.
func (l *loader) reveal(path string, section any) driver.Secret {
	text, err := json.Marshal(l.revealed(path, section))
	if err != nil {
		l.bad(l.originOf(path), path, "cannot be written as JSON, which is how the driver gets it")
	}
	return driver.NewSecret(string(text))
}

func (l *loader) revealed(path string, value any) any {
	switch v := value.(type) {
	case reference:
		secret, err := l.fetch(v, path)
		if err != nil {
			l.bad(l.originOf(path), path, "%v", err)
		}
		return secret
	case map[string]any:
		section := make(map[string]any, len(v))
		for key, one := range v {
			section[key] = l.revealed(join(path, key), one)
		}
		return section
	case []any:
		list := make([]any, len(v))
		for i, one := range v {
			list[i] = l.revealed(path, one)
		}
		return list
	}
	return value
}

const redacted = "[redacted]"

// secretWords make a key one of a secret.
var secretWords = []string{"password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "apikey", "api_key",
	"access_key", "private_key", "connection_string", "dsn"}

// looksSecret reports whether a key names a secret, rather than where one is.
func looksSecret(key string) bool {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if strings.HasSuffix(key, "_file") || strings.HasSuffix(key, "_path") {
		return false
	}
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(key, word) })
}

// login is the part of an address that holds a user and a password.
var login = regexp.MustCompile(`://[^/@\s]*:[^/\s]*@`)

// redact returns a value of a driver's section without its secrets. key is the
// nearest one that it stands under.
func redact(key string, value any) any {
	switch v := value.(type) {
	case reference:
		return redacted + " from " + v.String()
	case map[string]any:
		section := make(map[string]any, len(v))
		for k, one := range v {
			if looksSecret(key) {
				section[k] = redact(key, one)
			} else {
				section[k] = redact(k, one)
			}
		}
		return section
	case []any:
		list := make([]any, len(v))
		for i, one := range v {
			list[i] = redact(key, one)
		}
		return list
	case nil:
		return nil
	}
	if looksSecret(key) {
		return redacted
	}
	if text, ok := value.(string); ok && login.MatchString(text) {
		return redacted
	}
	return value
}

// absolute returns a path that the file holds relative to the file's folder, and
// others as they are. key is where it stands.
func (l *loader) absolute(key, path string) string {
	if filepath.IsAbs(path) || l.originOf(key).File == "" {
		return path
	}
	return filepath.Join(filepath.Dir(l.file), path)
}
