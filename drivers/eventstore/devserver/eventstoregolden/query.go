// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// P is a position in a read request: "start", "end", a revision or a log position.
type P struct {
	kind            string
	rev             uint64
	commit, prepare uint64
	note            string
}

var (
	Start   = P{kind: "start"}
	End     = P{kind: "end"}
	NoPoint = P{kind: "unset"}
)

func At(n uint64) P { return P{kind: "rev", rev: n} }

// Pos is a log position, described in steps by its note.
func Pos(commit, prepare uint64, note string) P {
	return P{kind: "pos", commit: commit, prepare: prepare, note: note}
}

func (p P) String() string {
	switch p.kind {
	case "rev":
		return fmt.Sprintf("%d", p.rev)
	case "pos":
		return "position(" + p.note + ")"
	}
	return p.kind
}

// Q is a read request.
type Q struct {
	Stream   string
	All      bool
	From     P
	Back     bool
	Count    uint64
	NoCount  bool
	Links    bool
	Filter   *api.ReadReq_Options_FilterOptions
	NoFilter bool // leave the filter option unset
	Compat   int  // 0: no control option, else its value; -1: the option with value 0
	UUID     string
	Kinds    bool // record only the kinds of the messages, in order
	Stop     int  // stop after so many messages, 0 = never
}

func (q Q) String() string {
	s := q.Stream
	if q.All {
		s = "$all"
	}
	dir := "forwards"
	if q.Back {
		dir = "backwards"
	}
	s = fmt.Sprintf("%s %s from %s", s, dir, q.From)
	if !q.NoCount {
		s += fmt.Sprintf(" count=%s", count(q.Count))
	}
	if q.Links {
		s += " resolve-links"
	}
	if q.Filter != nil {
		s += " filter=" + (&T{cfg: &Config{}}).R(q.Filter)
	}
	if q.Compat != 0 {
		s += fmt.Sprintf(" compatibility=%d", max(q.Compat, 0))
	}
	if q.UUID != "" {
		s += " uuid=" + q.UUID
	}
	return s
}

func count(n uint64) string {
	if n == 1<<64-1 {
		return "MAX"
	}
	return fmt.Sprint(n)
}

func (q Q) req(sub bool) *api.ReadReq {
	o := &api.ReadReq_Options{ResolveLinks: q.Links}
	if q.Back {
		o.ReadDirection = api.ReadReq_Options_Backwards
	}
	if q.All {
		a := &api.ReadReq_Options_AllOptions{}
		switch q.From.kind {
		case "start":
			a.AllOption = &api.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}
		case "end":
			a.AllOption = &api.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
		case "pos":
			a.AllOption = &api.ReadReq_Options_AllOptions_Position{Position: &api.ReadReq_Options_Position{
				CommitPosition: q.From.commit, PreparePosition: q.From.prepare}}
		}
		o.StreamOption = &api.ReadReq_Options_All{All: a}
	} else {
		a := &api.ReadReq_Options_StreamOptions{StreamIdentifier: sid(q.Stream)}
		switch q.From.kind {
		case "start":
			a.RevisionOption = &api.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}}
		case "end":
			a.RevisionOption = &api.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
		case "rev":
			a.RevisionOption = &api.ReadReq_Options_StreamOptions_Revision{Revision: q.From.rev}
		}
		o.StreamOption = &api.ReadReq_Options_Stream{Stream: a}
	}
	switch {
	case sub:
		o.CountOption = &api.ReadReq_Options_Subscription{Subscription: &api.ReadReq_Options_SubscriptionOptions{}}
	case !q.NoCount:
		o.CountOption = &api.ReadReq_Options_Count{Count: q.Count}
	}
	switch {
	case q.Filter != nil:
		o.FilterOption = &api.ReadReq_Options_Filter{Filter: q.Filter}
	case !q.NoFilter:
		o.FilterOption = &api.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}}
	}
	switch q.UUID {
	case "":
		o.UuidOption = &api.ReadReq_Options_UUIDOption{Content: &api.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}}
	case "structured":
		o.UuidOption = &api.ReadReq_Options_UUIDOption{Content: &api.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}}
	case "empty":
		o.UuidOption = &api.ReadReq_Options_UUIDOption{}
	}
	switch {
	case q.Compat > 0:
		o.ControlOption = &api.ReadReq_Options_ControlOption{Compatibility: uint32(q.Compat)}
	case q.Compat < 0:
		o.ControlOption = &api.ReadReq_Options_ControlOption{}
	}
	return &api.ReadReq{Options: o}
}
