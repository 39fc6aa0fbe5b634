// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"os"
	"path/filepath"

	"github.com/understudy-dev/understudy/examples/recorder/internal/sample"
)

// Names within the work folder, as the recorder's command has them.
const (
	archiveDir   = "archive"
	indexFile    = "index.ndjson"
	setAsideFile = "set-aside.ndjson"
)

// stage copies the calls into a work folder, so that the demo can be run again on the same data.
func stage(data, work string) error {
	if err := os.CopyFS(filepath.Join(work, sample.MonitorDir), os.DirFS(filepath.Join(data, sample.MonitorDir))); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(data, sample.MasterFile))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, sample.MasterFile), text, 0o644)
}

// prepare makes the folder for the report, without what an earlier run has left in it.
func prepare(report string) error {
	if err := os.MkdirAll(report, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(report, "*.log"))
	if err != nil {
		return err
	}
	for _, file := range append(old, filepath.Join(report, reportFile)) {
		if err := os.RemoveAll(file); err != nil {
			return err
		}
	}
	return nil
}
