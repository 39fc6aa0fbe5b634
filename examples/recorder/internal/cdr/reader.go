// SPDX-License-Identifier: Apache-2.0

package cdr

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// MaxLine is the longest line in bytes that a Reader takes.
const MaxLine = 16 << 10

// Row is one line of Master.csv.
type Row struct {
	Line int    // counted from 1
	Text string // as it stands in the file, without the line end
	Call Call
}

// RowError says why one line cannot be read. The lines after it can.
type RowError struct {
	Line   int    // counted from 1
	Column int    // byte in the line, counted from 1; 0 when the line as a whole is wrong
	Field  string // name of the column; empty when the line as a whole is wrong
	Text   string // the line, cut off at MaxLine
	Reason string // what is wrong and what was expected
}

// Error names the place, the field and the expected form.
func (e *RowError) Error() string {
	switch {
	case e.Field != "":
		return fmt.Sprintf("line %d, column %d, field %s: %s", e.Line, e.Column, e.Field, e.Reason)
	case e.Column > 0:
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
	default:
		return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
	}
}

// Reader reads Master.csv line by line and holds no more than one line in memory. It is for one goroutine.
//
// Each line is parsed for itself, as cdr_csv never breaks a line inside a field: an open quote spoils its own line, not
// the rest of the file.
type Reader struct {
	in   *bufio.Reader
	loc  *time.Location
	line int
	text []byte
	one  *bytes.Reader // the line at hand,
	csv  *bufio.Reader // and the buffer that encoding/csv reads it through
}

// NewReader reads from r; times are in loc.
func NewReader(r io.Reader, loc *time.Location) *Reader {
	one := bytes.NewReader(nil)
	return &Reader{in: bufio.NewReader(r), loc: loc, one: one, csv: bufio.NewReader(one)}
}

// Read returns the next line that is not blank. It returns a [*RowError] for a line that cannot be read, after which
// Read goes on with the next one; [io.EOF] at the end; any other error is one of the file and repeats.
func (r *Reader) Read() (Row, error) {
	for {
		whole, err := r.next()
		if err != nil {
			return Row{}, err
		}
		if len(bytes.TrimSpace(r.text)) == 0 {
			continue
		}
		row := Row{Line: r.line, Text: strings.ToValidUTF8(string(r.text), "\uFFFD")}
		if !whole {
			return Row{}, r.fail(0, "", fmt.Sprintf("longer than %d bytes", MaxLine))
		}
		row.Call, err = r.parse()
		return row, err
	}
}

// next reads a line into r.text; whole is false if it is longer than MaxLine, and then r.text is its beginning.
func (r *Reader) next() (whole bool, err error) {
	r.text = r.text[:0]
	whole = true
	for {
		part, err := r.in.ReadSlice('\n')
		if room := MaxLine - len(r.text); len(part) > room {
			part, whole = part[:room], false
		}
		r.text = append(r.text, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil, errors.Is(err, io.EOF) && len(r.text) > 0:
			r.line++
			r.text = bytes.TrimRight(r.text, "\r\n")
			return whole, nil
		case errors.Is(err, io.EOF):
			return false, io.EOF
		default:
			return false, fmt.Errorf("read call-detail line %d: %w", r.line+1, err)
		}
	}
}

func (r *Reader) parse() (Call, error) {
	r.one.Reset(r.text)
	r.csv.Reset(r.one)
	fields := csv.NewReader(r.csv)
	fields.FieldsPerRecord = -1
	record, err := fields.Read()
	if err != nil {
		if pe, ok := errors.AsType[*csv.ParseError](err); ok {
			return Call{}, r.fail(pe.Column, "", quoteReason(pe.Err))
		}
		return Call{}, r.fail(0, "", err.Error())
	}
	if len(record) != len(columns) {
		return Call{}, r.fail(0, "", fmt.Sprintf("%d columns instead of %d (%s … %s); cdr.conf needs loguniqueid=yes and loguserfield=yes",
			len(record), len(columns), columns[0], columns[len(columns)-1]))
	}
	p := parser{record: record, loc: r.loc}
	call := p.call()
	if p.reason != "" {
		_, column := fields.FieldPos(p.field)
		return Call{}, r.fail(column, columns[p.field], p.reason)
	}
	return call, nil
}

func quoteReason(err error) string {
	if errors.Is(err, csv.ErrQuote) {
		return `a quoted field is not closed, or goes on after its closing quote; a quote inside a field is written ""`
	}
	return err.Error()
}

func (r *Reader) fail(column int, field, reason string) error {
	text := strings.ToValidUTF8(string(r.text), "\uFFFD")
	return &RowError{Line: r.line, Column: column, Field: field, Text: text, Reason: reason}
}
