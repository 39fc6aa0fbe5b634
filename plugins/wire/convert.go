// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"maps"
	"slices"
	"time"

	"github.com/understudy-dev/understudy/driver"
	wirev1 "github.com/understudy-dev/understudy/plugins/wire/v1"
)

// What is empty crosses as absent and comes back as nil.

func toTexts[T ~string](texts []T) [][]byte {
	if len(texts) == 0 {
		return nil
	}
	out := make([][]byte, len(texts))
	for i, s := range texts {
		out[i] = []byte(s)
	}
	return out
}

func fromTexts[T ~string](in [][]byte) []T {
	if len(in) == 0 {
		return nil
	}
	out := make([]T, len(in))
	for i, s := range in {
		out[i] = T(s)
	}
	return out
}

func toTime(t time.Time) *wirev1.Time {
	if t.IsZero() {
		return nil
	}
	return &wirev1.Time{Seconds: t.Unix(), Nanos: uint32(t.Nanosecond())}
}

func fromTime(in *wirev1.Time) time.Time {
	if in == nil {
		return time.Time{}
	}
	return time.Unix(in.GetSeconds(), int64(in.GetNanos())).UTC()
}

func toToken(t driver.Token) []byte {
	if t.IsZero() {
		return nil
	}
	return t[:]
}

func fromToken(in []byte) (driver.Token, error) {
	switch len(in) {
	case 0:
		return driver.Token{}, nil
	case tokenBytes:
		return driver.Token(in), nil
	}
	return driver.Token{}, undecodable("token of %d bytes, want %d", len(in), tokenBytes)
}

func toMarks(marks driver.Marks) []*wirev1.Mark {
	if len(marks) == 0 {
		return nil
	}
	out := make([]*wirev1.Mark, len(marks))
	for i, m := range marks {
		out[i] = &wirev1.Mark{Partition: m.Partition, Incarnation: m.Incarnation, Sequence: m.Sequence}
	}
	return out
}

func fromMarks(in []*wirev1.Mark) driver.Marks {
	if len(in) == 0 {
		return nil
	}
	out := make(driver.Marks, len(in))
	for i, m := range in {
		out[i] = driver.Mark{Partition: m.GetPartition(), Incarnation: m.GetIncarnation(), Sequence: m.GetSequence()}
	}
	return out
}

func toGuard(g driver.Guard) *wirev1.Guard {
	return &wirev1.Guard{Epoch: g.Epoch, Seen: toMarks(g.Seen)}
}

func fromGuard(in *wirev1.Guard) driver.Guard {
	return driver.Guard{Epoch: in.GetEpoch(), Seen: fromMarks(in.GetSeen())}
}

func toReceipt(r driver.Receipt) *wirev1.Receipt {
	return &wirev1.Receipt{Marks: toMarks(r.Marks), Time: toTime(r.Time)}
}

func fromReceipt(in *wirev1.Receipt) driver.Receipt {
	return driver.Receipt{Marks: fromMarks(in.GetMarks()), Time: fromTime(in.GetTime())}
}

func toEpoch(e driver.Epoch) *wirev1.Epoch {
	return &wirev1.Epoch{
		Number:  e.Number,
		Version: e.Version,
		Token:   toToken(e.Token),
		Active:  []byte(e.Active),
		State:   uint32(e.State),
		InSync:  toTexts(e.InSync),

		Incarnations: toIncarnations(e.Incarnations),
	}
}

func toIncarnations(known []driver.LinkIncarnation) []*wirev1.LinkIncarnation {
	var out []*wirev1.LinkIncarnation
	for _, k := range known {
		out = append(out, &wirev1.LinkIncarnation{Link: []byte(k.Link), Incarnation: k.Incarnation})
	}
	return out
}

func fromIncarnations(in []*wirev1.LinkIncarnation) []driver.LinkIncarnation {
	var out []driver.LinkIncarnation
	for _, k := range in {
		out = append(out, driver.LinkIncarnation{Link: string(k.GetLink()), Incarnation: k.GetIncarnation()})
	}
	return out
}

func fromEpoch(in *wirev1.Epoch) (driver.Epoch, error) {
	token, err := fromToken(in.GetToken())
	if err != nil {
		return driver.Epoch{}, err
	}
	state, err := fromByte[driver.EpochState]("state of an epoch", in.GetState())
	return driver.Epoch{
		Number:  in.GetNumber(),
		Version: in.GetVersion(),
		Token:   token,
		Active:  string(in.GetActive()),
		State:   state,
		InSync:  fromTexts[string](in.GetInSync()),

		Incarnations: fromIncarnations(in.GetIncarnations()),
	}, err
}

func fromByte[T ~uint8](what string, in uint32) (T, error) {
	if in > 0xff {
		return 0, undecodable("%s is %d", what, in)
	}
	return T(in), nil
}

func toDetails(details map[string]string) []*wirev1.Detail {
	var out []*wirev1.Detail
	for _, name := range slices.Sorted(maps.Keys(details)) {
		out = append(out, &wirev1.Detail{Name: []byte(name), Value: []byte(details[name])})
	}
	return out
}

func fromDetails(in []*wirev1.Detail) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for _, d := range in {
		out[string(d.GetName())] = string(d.GetValue())
	}
	return out
}

func toProblems(problems []driver.Problem) []*wirev1.Problem {
	var out []*wirev1.Problem
	for _, p := range problems {
		out = append(out, &wirev1.Problem{Code: []byte(p.Code), Text: []byte(p.Text)})
	}
	return out
}

func fromProblems(in []*wirev1.Problem) []driver.Problem {
	var out []driver.Problem
	for _, p := range in {
		out = append(out, driver.Problem{Code: string(p.GetCode()), Text: string(p.GetText())})
	}
	return out
}

func toStatuses(statuses []driver.Status) []byte {
	var out []byte
	for _, s := range statuses {
		out = append(out, byte(s))
	}
	return out
}

func fromStatuses(in []byte) []driver.Status {
	var out []driver.Status
	for _, s := range in {
		out = append(out, driver.Status(s))
	}
	return out
}
