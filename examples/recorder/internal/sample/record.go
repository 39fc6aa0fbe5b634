// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wav"
)

// voice is one voice file.
type voice struct {
	path   string
	name   string // below the folder of voice files, without .wav
	header wav.Header
	length time.Duration
}

// findVoices lists the voice files in the order of their names.
func findVoices(dir string) ([]voice, error) {
	var voices []voice
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".wav" {
			return err
		}
		v, err := readVoice(dir, path)
		if err != nil {
			return fmt.Errorf("voice file %s: %w", path, err)
		}
		voices = append(voices, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(voices) == 0 {
		return nil, fmt.Errorf("no .wav files in %s", dir)
	}
	return voices, nil
}

func readVoice(dir, path string) (voice, error) {
	file, err := os.Open(path)
	if err != nil {
		return voice{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return voice{}, err
	}
	header, err := wav.ReadHeader(file, info.Size())
	if err != nil {
		return voice{}, err
	}
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return voice{}, err
	}
	name = strings.TrimSuffix(filepath.ToSlash(name), ".wav")
	return voice{path: path, name: name, header: header, length: header.Duration()}, nil
}

// record writes the call's recording to where a recorder would leave it, spoilt as its fault asks.
func (r *row) record(out string) error {
	switch r.fault {
	case missing, unanswered, twice:
		return nil
	}
	data, err := os.ReadFile(r.voice.path)
	if err != nil {
		return err
	}
	samples := r.voice.header.DataOffset
	switch r.fault {
	case truncated:
		data = data[:samples+r.voice.header.DataBytes/2]
	case unclosed:
		clear(data[samples-4 : samples])
	case notRIFF:
		copy(data, "\x00\x00\x00\x00lost")
	}
	dir := filepath.Join(out, MonitorDir, filepath.FromSlash(r.call.Start.Format("2006/01/02")))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, r.call.UniqueID+".wav"), data, 0o644)
}

// write writes the call's line.
func (r *row) write(w io.Writer) error {
	if r.fault != unreadable {
		return cdr.Write(w, &r.call)
	}
	var line strings.Builder
	if err := cdr.Write(&line, &r.call); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, line.String()[:line.Len()/2])
	return err
}
