// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
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

// stage copies the calls into a work folder, beside the report, so that the demo can be run again on the same data.
func (d *demo) stage() (string, error) {
	work, err := os.MkdirTemp(d.config.Report, "work-")
	if err != nil {
		return "", err
	}
	monitor := filepath.Join(work, sample.MonitorDir)
	err = os.CopyFS(monitor, os.DirFS(filepath.Join(d.config.Data, sample.MonitorDir)))
	if err == nil {
		err = copyFile(filepath.Join(work, sample.MasterFile), filepath.Join(d.config.Data, sample.MasterFile))
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(work))
	}
	return work, nil
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
