// SPDX-License-Identifier: Apache-2.0

package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/understudy-dev/understudy/examples/recorder/internal/archive"
	"github.com/understudy-dev/understudy/examples/recorder/internal/cdr"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wav"
)

// verify checks that the recording is a whole WAV file as long as the call.
func (j *Job) verify(_ context.Context, c *cdr.Call, s *State) error {
	path, err := j.find(c)
	if err != nil {
		return err
	}
	header, size, err := readHeader(path)
	if damage, ok := errors.AsType[*wav.Error](err); ok {
		return reject(Damaged, damage, "%s: %v", filepath.Base(path), damage)
	}
	if err != nil {
		return err
	}
	length := header.Duration()
	if off := length - c.Billed(); off.Abs() > j.cfg.Tolerance {
		return reject(WrongLength, nil, "the recording is %s long, the call %s; at most %s may be between them",
			length.Round(time.Millisecond), c.Billed(), j.cfg.Tolerance)
	}
	s.Bytes, s.DurationMS, s.Format = size, length.Milliseconds(), header.Format.String()
	j.at(pointVerified)
	return nil
}

func readHeader(path string) (wav.Header, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return wav.Header{}, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return wav.Header{}, 0, err
	}
	if !info.Mode().IsRegular() {
		return wav.Header{}, 0, &wav.Error{Kind: wav.ErrNotWAV, Detail: "it is a " + info.Mode().Type().String() + ", not a file"}
	}
	header, err := wav.ReadHeader(file, info.Size())
	return header, info.Size(), err
}

// checksum computes the recording's SHA-256.
func (j *Job) checksum(ctx context.Context, c *cdr.Call, s *State) error {
	path, err := j.find(c)
	if err != nil {
		return err
	}
	sum, size, err := archive.Sum(ctx, path)
	if err != nil {
		return err
	}
	if size != s.Bytes {
		return reject(Changed, nil, "%d bytes long when it was verified, %d now", s.Bytes, size)
	}
	s.SHA256 = sum
	j.at(pointSummed)
	return nil
}

// archive moves the recording to archive/YYYY/MM/DD/.
func (j *Job) archive(ctx context.Context, c *cdr.Call, s *State) error {
	from, err := j.find(c)
	if err != nil {
		return err
	}
	to := j.archived(c)
	if from == to {
		from = j.recorded(c)[0] // to finish what was begun
	}
	err = archive.Move{
		From: from, To: to, Root: j.cfg.Archive, Size: s.Bytes, SHA256: s.SHA256, At: j.points("archive: "),
	}.Do(ctx)
	switch {
	case errors.Is(err, archive.ErrOccupied):
		return reject(Occupied, err, "%v", err)
	case errors.Is(err, archive.ErrChanged):
		return reject(Changed, err, "%v", err)
	case err != nil:
		return err
	}
	s.Path = archivePath(c)
	return nil
}

// addToIndex writes the call's line into the index.
func (j *Job) addToIndex(ctx context.Context, c *cdr.Call, s *State) error {
	_, err := j.index.Append(ctx, newIndexLine(c, s))
	return err
}

func archivePath(c *cdr.Call) string {
	return path.Join(c.Start.Format("2006/01/02"), c.UniqueID+".wav")
}

// archived is where the recording stands in the archive.
func (j *Job) archived(c *cdr.Call) string {
	return filepath.Join(j.cfg.Archive, filepath.FromSlash(archivePath(c)))
}

// recorded is where a recorder may have left the recording.
func (j *Job) recorded(c *cdr.Call) []string {
	return []string{
		filepath.Join(j.cfg.Monitor, filepath.FromSlash(archivePath(c))),
		filepath.Join(j.cfg.Monitor, c.UniqueID+".wav"),
	}
}

// find returns where the recording stands: where the recorder left it, or already in the archive, when somebody died
// between moving it and saving that.
func (j *Job) find(c *cdr.Call) (string, error) {
	for _, path := range append(j.recorded(c), j.archived(c)) {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
	}
	if _, err := os.Stat(j.cfg.Monitor); err != nil {
		return "", fmt.Errorf("the folder of the recordings cannot be reached: %w", err)
	}
	if c.Disposition != cdr.Answered {
		return "", reject(Unanswered, nil, "disposition %s: there is no recording", c.Disposition)
	}
	return "", reject(Missing, fs.ErrNotExist, "no recording %s.wav", c.UniqueID)
}
