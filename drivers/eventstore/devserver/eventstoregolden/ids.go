// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
)

// fromStructured is the text of an id that came as two numbers.
func fromStructured(s *shared.UUID_Structured) string {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], uint64(s.GetMostSignificantBits()))
	binary.BigEndian.PutUint64(u[8:], uint64(s.GetLeastSignificantBits()))
	return u.String()
}

// toStructured is an id as two numbers.
func toStructured(s string) *shared.UUID {
	u := uuid.MustParse(s)
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(u[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(u[8:])),
	}}}
}

// wireID is an id as text.
func wireID(s string) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_String_{String_: s}}
}

// basic is the header of basic authentication.
func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
