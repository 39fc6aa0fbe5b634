// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// X is an expected version.
type X struct {
	kind string
	rev  uint64
}

var (
	Any      = X{kind: "any"}
	NoStream = X{kind: "no-stream"}
	Exists   = X{kind: "stream-exists"}
	Unset    = X{kind: "unset"}
)

// Rev is an exact expected version.
func Rev(n uint64) X { return X{kind: "exact", rev: n} }

func (x X) String() string {
	if x.kind == "exact" {
		return fmt.Sprintf("exact-%d", x.rev)
	}
	return x.kind
}

// E is an event to append.
type E struct {
	ID         string // label; its UUID belongs to the case
	Type       string
	CT         string
	Data       string
	Custom     string
	Extra      map[string]string
	NoType     bool // leave the type out of the metadata
	NoCT       bool // leave the content type out of the metadata
	RawID      *shared.UUID
	UseRawID   bool
	Structured bool
	Note       string
}

func ev(id string) E {
	return E{ID: id, Type: "T", CT: "application/json", Data: fmt.Sprintf(`{"n":%q}`, id)}
}

func evs(ids ...string) []E {
	var r []E
	for _, i := range ids {
		r = append(r, ev(i))
	}
	return r
}

func (e E) String() string {
	s := e.ID
	if e.Type != "T" {
		s += fmt.Sprintf(" type=%q", e.Type)
	}
	if e.CT != "application/json" {
		s += fmt.Sprintf(" content-type=%q", e.CT)
	}
	if e.Data != fmt.Sprintf(`{"n":%q}`, e.ID) {
		if len(e.Data) > 100 {
			s += fmt.Sprintf(" data=<%d bytes>", len(e.Data))
		} else {
			s += fmt.Sprintf(" data=%q", e.Data)
		}
	}
	if e.Custom != "" {
		if len(e.Custom) > 100 {
			s += fmt.Sprintf(" custom=<%d bytes>", len(e.Custom))
		} else {
			s += fmt.Sprintf(" custom=%q", e.Custom)
		}
	}
	if e.Note != "" {
		s += " " + e.Note
	}
	return s
}

func (t *T) parts(e E) (*shared.UUID, map[string]string) {
	md := map[string]string{}
	if !e.NoType {
		md["type"] = e.Type
	}
	if !e.NoCT {
		md["content-type"] = e.CT
	}
	maps.Copy(md, e.Extra)
	if e.UseRawID {
		return e.RawID, md
	}
	if e.Structured {
		return toStructured(t.ID(e.ID)), md
	}
	return wireID(t.ID(e.ID)), md
}

func sid(s string) *shared.StreamIdentifier { return &shared.StreamIdentifier{StreamName: []byte(s)} }

func appendOptions(s string, x X) *api.AppendReq {
	o := &api.AppendReq_Options{StreamIdentifier: sid(s)}
	switch x.kind {
	case "any":
		o.ExpectedStreamRevision = &api.AppendReq_Options_Any{Any: &shared.Empty{}}
	case "no-stream":
		o.ExpectedStreamRevision = &api.AppendReq_Options_NoStream{NoStream: &shared.Empty{}}
	case "stream-exists":
		o.ExpectedStreamRevision = &api.AppendReq_Options_StreamExists{StreamExists: &shared.Empty{}}
	case "exact":
		o.ExpectedStreamRevision = &api.AppendReq_Options_Revision{Revision: x.rev}
	}
	return &api.AppendReq{Content: &api.AppendReq_Options_{Options: o}}
}

func (t *T) proposed(e E) *api.AppendReq {
	id, md := t.parts(e)
	return &api.AppendReq{Content: &api.AppendReq_ProposedMessage_{ProposedMessage: &api.AppendReq_ProposedMessage{
		Id: id, Metadata: md, Data: []byte(e.Data), CustomMetadata: []byte(e.Custom)}}}
}
