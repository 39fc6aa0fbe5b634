// SPDX-License-Identifier: Apache-2.0

package cdr

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Write writes one line as cdr_csv does: text and times in quotes, numbers bare. Times are written in their own zone.
func Write(w io.Writer, c *Call) error {
	fields := []string{
		quote(c.AccountCode), quote(c.Src), quote(c.Dst), quote(c.DContext), quote(c.CLID),
		quote(c.Channel), quote(c.DstChannel), quote(c.LastApp), quote(c.LastData),
		quoteTime(c.Start), quoteTime(c.Answer), quoteTime(c.End),
		strconv.Itoa(c.Duration), strconv.Itoa(c.BillSec),
		quote(c.Disposition), quote(c.AMAFlags), quote(c.UniqueID), quote(c.UserField),
	}
	if _, err := io.WriteString(w, strings.Join(fields, ",")+"\n"); err != nil {
		return fmt.Errorf("write call %s: %w", c.UniqueID, err)
	}
	return nil
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteTime(t time.Time) string {
	if t.IsZero() {
		return `""`
	}
	return `"` + t.Format(TimeFormat) + `"`
}
