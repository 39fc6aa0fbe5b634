// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// syncDir makes the names of new files in a folder safe.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
