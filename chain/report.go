// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/understudy-dev/understudy/driver"
)

// writeReport writes findings into a new file of Config.ReportDir, one JSON object
// a line, and returns its path once it is safe on disk. Without a folder it does
// nothing.
func (c *Chain) writeReport(l *link, e driver.Epoch, found []Diverged) (path string, err error) {
	if c.config.ReportDir == "" {
		return "", nil
	}
	name := fmt.Sprintf("%s-%s-%d-%s-*.jsonl", c.config.Name, l.name, e.Number, time.Now().UTC().Format("20060102T150405Z"))
	f, err := os.CreateTemp(c.config.ReportDir, name)
	if err != nil {
		return "", fmt.Errorf("report of what %q holds otherwise: %w", l.name, err)
	}
	path = f.Name()
	w := bufio.NewWriter(f)
	lines := json.NewEncoder(w)
	for i := range found {
		if err = lines.Encode(&found[i]); err != nil {
			break
		}
	}
	err = errors.Join(err, w.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = syncDir(c.config.ReportDir)
	}
	if err != nil {
		return "", fmt.Errorf("report of what %q holds otherwise: %w", l.name, err)
	}
	return path, nil
}

// checkReportDir returns why reports could not be written. Found only when a link
// returns, it would keep that link out. A disk that is full at the moment is no
// reason not to start.
func (c *Config) checkReportDir() error {
	if c.ReportDir == "" {
		return nil
	}
	f, err := os.CreateTemp(c.ReportDir, ".understudy-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err == nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return &driver.Error{Class: driver.Invalid, Cause: err,
		Detail: fmt.Sprintf("ReportDir (report_dir in a file) %q: want a folder that exists and that this program may write to", c.ReportDir)}
}

// syncDir makes the names of new files in a folder safe.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
