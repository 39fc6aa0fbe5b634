// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// Token names one transition of one record, one claim, one lease or one change
// of an epoch. It is what makes a repeat of an unknown outcome harmless: a store
// recognises the token and answers as it did the first time.
//
// The zero Token means "none". Tokens are compared with ==.
type Token [16]byte

// NewToken returns a random token. It never fails and is safe for concurrent
// use (see crypto/rand.Read).
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:])
	return t
}

// ParseToken is the inverse of [Token.String].
func ParseToken(s string) (Token, error) {
	var t Token
	if len(s) != hex.EncodedLen(len(t)) {
		return Token{}, fmt.Errorf("token of %d characters: want %d hexadecimal digits", len(s), hex.EncodedLen(len(t)))
	}
	if _, err := hex.Decode(t[:], []byte(s)); err != nil {
		return Token{}, fmt.Errorf("token: want %d hexadecimal digits: %w", hex.EncodedLen(len(t)), err)
	}
	return t, nil
}

// IsZero reports whether t names nothing.
func (t Token) IsZero() bool { return t == Token{} }

// String returns t as 32 hexadecimal digits.
func (t Token) String() string { return hex.EncodeToString(t[:]) }

// MarshalText implements encoding.TextMarshaler; its form is that of String.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; see [ParseToken].
func (t *Token) UnmarshalText(text []byte) error {
	parsed, err := ParseToken(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}
