// SPDX-License-Identifier: Apache-2.0

package cdr_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
)

// line is one as Asterisk writes it, with a comma and quotes inside fields.
const line = `"","1001","1002","from-internal","""Ann, Lee"" <1001>","SIP/1001-00000001","SIP/1002-00000002","Dial","SIP/1002,30,tr",` +
	`"2026-03-02 09:15:00","2026-03-02 09:15:04","2026-03-02 09:15:34",34,30,"ANSWERED","DOCUMENTATION","1772442900.17","queue a"`

func call() cdr.Call {
	at := func(sec int) time.Time { return time.Date(2026, 3, 2, 9, 15, sec, 0, time.UTC) }
	return cdr.Call{
		Src: "1001", Dst: "1002", DContext: "from-internal", CLID: `"Ann, Lee" <1001>`,
		Channel: "SIP/1001-00000001", DstChannel: "SIP/1002-00000002", LastApp: "Dial", LastData: "SIP/1002,30,tr",
		Start: at(0), Answer: at(4), End: at(34), Duration: 34, BillSec: 30,
		Disposition: "ANSWERED", AMAFlags: "DOCUMENTATION", UniqueID: "1772442900.17", UserField: "queue a",
	}
}

// readAll returns all rows and row errors in their order.
func readAll(t *testing.T, text string) (rows []cdr.Row, bad []*cdr.RowError) {
	t.Helper()
	r := cdr.NewReader(strings.NewReader(text), time.UTC)
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, bad
		}
		if rowErr, ok := errors.AsType[*cdr.RowError](err); ok {
			bad = append(bad, rowErr)
			continue
		}
		require.NoError(t, err)
		rows = append(rows, row)
	}
}

func TestReadLine(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"Unix": "\n", "DOS": "\r\n", "NoLineEnd": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, bad := readAll(t, line+end)
			require.Empty(t, bad)
			require.Equal(t, []cdr.Row{{Line: 1, Text: line, Call: call()}}, rows)
		})
	}
}

func TestTimesAreInTheGivenZone(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	row, err := cdr.NewReader(strings.NewReader(line), zone).Read()
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 3, 2, 8, 15, 0, 0, time.UTC), row.Call.Start.UTC())
}

func TestWriteReadsBack(t *testing.T) {
	t.Parallel()
	unanswered := call()
	unanswered.Answer, unanswered.BillSec, unanswered.Disposition, unanswered.UniqueID = time.Time{}, 0, "NO ANSWER", "pbx1-1772442900.18"
	var file strings.Builder
	for _, c := range []cdr.Call{call(), unanswered} {
		require.NoError(t, cdr.Write(&file, &c))
	}
	require.Equal(t, line, strings.SplitN(file.String(), "\n", 2)[0])
	rows, bad := readAll(t, file.String())
	require.Empty(t, bad)
	require.Len(t, rows, 2)
	require.Equal(t, unanswered, rows[1].Call)
}

func TestBadFields(t *testing.T) {
	t.Parallel()
	begins := map[string]string{ // what stands in the line from the field on
		"start": `"2026-03-02 09:15:00"`, "answer": `"2026-03-02 09:15:04"`, "end": `"2026-03-02 09:15:34"`,
		"duration": `34,30,`, "billsec": `30,"ANSW`, "disposition": `"ANSWERED"`, "amaflags": `"DOCUM`, "uniqueid": `"1772442900`,
	}
	tests := []struct {
		name, old, new string
		field, reason  string
	}{
		{"StartIsNoTime", `"2026-03-02 09:15:00"`, `"2026-03-02T09:15"`, "start", `"2026-03-02T09:15" is not a time of the form 2006-01-02 15:04:05`},
		{"StartIsEmpty", `"2026-03-02 09:15:00"`, `""`, "start", `"" is not a time`},
		{"StartIsNoDay", `2026-03-02 09:15:00`, `2026-02-30 09:15:00`, "start", "is not a time"},
		{"AnswerIsMissing", `"2026-03-02 09:15:04"`, `""`, "answer", "empty, but the disposition is ANSWERED"},
		{"AnswerBeforeStart", `09:15:04`, `09:14:04`, "answer", "not between start and end"},
		{"EndBeforeStart", `09:15:34`, `08:15:34`, "end", "the end lies before the start"},
		{"DurationIsText", `,34,30,`, `,half,30,`, "duration", `"half" is not a number of seconds`},
		{"BillsecIsNegative", `,34,30,`, `,34,-1,`, "billsec", `"-1" is not a number of seconds`},
		{"BillsecTooLarge", `,34,30,`, `,34,99999999999,`, "billsec", "is not a number of seconds"},
		{"BillsecOverDuration", `,34,30,`, `,34,35,`, "billsec", "35 s are more than the duration of 34 s"},
		{"UnknownDisposition", `"ANSWERED"`, `"MAYBE"`, "disposition", `"MAYBE" is none of ANSWERED, NO ANSWER`},
		{"UnknownAMAFlags", `"DOCUMENTATION"`, `"7"`, "amaflags", `"7" is none of`},
		{"NoUniqueID", `"1772442900.17"`, `""`, "uniqueid", `"" is not a unique id`},
		{"UniqueIDLeavesTheFolder", `1772442900.17`, `../../etc/passwd`, "uniqueid", "is not a unique id"},
		{"UniqueIDTooLong", `1772442900.17`, strings.Repeat("1", 150), "uniqueid", "1 to 149"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, line, tt.old)
			text := strings.Replace(line, tt.old, tt.new, 1)
			rows, bad := readAll(t, "\n"+text+"\n"+line+"\n")
			require.Len(t, rows, 1, "the line after is read")
			require.Len(t, bad, 1)
			require.Equal(t, cdr.RowError{Line: 2, Column: strings.Index(line, begins[tt.field]) + 1, Field: tt.field, Text: text, Reason: bad[0].Reason}, *bad[0])
			require.Contains(t, bad[0].Reason, tt.reason)
			require.ErrorContains(t, bad[0], "line 2, column")
		})
	}
}

func TestBadLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		column     int
		reason     string
	}{
		{"HeaderOfSeventeen", strings.TrimSuffix(line, `,"queue a"`), 0, "17 columns instead of 18"},
		{"NewColumns", line + `,"",""`, 0, "20 columns instead of 18"},
		{"OpenQuote", line[:len(line)-1], len(line), "a quoted field is not closed"},
		{"TextAfterQuote", strings.Replace(line, `"1001",`, `"1001"x,`, 1), 9, "a quote inside a field"},
		{"BareQuote", strings.Replace(line, `,34,`, `,3"4,`, 1), strings.Index(line, `,34,`) + 3, `bare "`},
		{"TooLong", strings.Replace(line, "queue a", strings.Repeat("a", cdr.MaxLine), 1), 0, "longer than 16384 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, bad := readAll(t, tt.text+"\n"+line+"\n")
			require.Len(t, bad, 1)
			require.Contains(t, bad[0].Reason, tt.reason)
			require.Equal(t, tt.column, bad[0].Column)
			require.Equal(t, []cdr.Row{{Line: 2, Text: line, Call: call()}}, rows, "the damage stays in its line")
		})
	}
}

func TestWrongBytesAreReplaced(t *testing.T) {
	t.Parallel()
	rows, bad := readAll(t, strings.Replace(line, "Ann", "Zo\xeb", 1))
	require.Empty(t, bad)
	require.Equal(t, "\"Zo\uFFFD, Lee\" <1001>", rows[0].Call.CLID)
}

func TestFileErrorsAreNotRowErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk error")
	r := cdr.NewReader(io.MultiReader(strings.NewReader(line+"\n"), iotest.ErrReader(broken)), time.UTC)
	_, err := r.Read()
	require.NoError(t, err)
	_, err = r.Read()
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "line 2")
}

func FuzzReader(f *testing.F) {
	f.Add(line + "\n" + line)
	f.Add(`"",""` + "\r\n\r\n\"")
	f.Add(strings.Repeat("x", cdr.MaxLine+1))
	f.Fuzz(func(t *testing.T, text string) {
		rows, bad := readAll(t, text)
		require.LessOrEqual(t, len(rows)+len(bad), strings.Count(text, "\n")+1)
		for _, row := range rows {
			var file strings.Builder
			require.NoError(t, cdr.Write(&file, &row.Call))
			again, wrong := readAll(t, file.String())
			require.Empty(t, wrong)
			require.Len(t, again, 1)
			require.Equal(t, row.Call, again[0].Call)
		}
	})
}
