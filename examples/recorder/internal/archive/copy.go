// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// Sum returns the SHA-256 checksum of the file in hexadecimal, and its size. It reads the file as a stream and stops
// when ctx ends.
func Sum(ctx context.Context, path string) (sum string, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	h := sha256.New()
	size, err = io.Copy(h, reader{ctx, file})
	if err != nil {
		return "", 0, fmt.Errorf("checksum of %s: %w", path, err)
	}
	return hexSum(h), size, nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// copyOver brings the file to another file system: a copy under a temporary name in the same folder, then a rename.
func (m *Move) copyOver(ctx context.Context) error {
	dir, base := filepath.Split(m.To)
	if err := removePartial(dir, base); err != nil {
		return err
	}
	partial, err := os.CreateTemp(dir, "."+base+".*.partial")
	if err != nil {
		return err
	}
	err = m.fill(ctx, partial)
	if err = errors.Join(err, partial.Close()); err == nil {
		m.at(Copied)
		err = os.Rename(partial.Name(), m.To)
	}
	if err != nil {
		_ = os.Remove(partial.Name()) // the next try removes it if this one cannot
		return err
	}
	return nil
}

// fill copies the file, checks it on the way and brings it to the disk.
func (m *Move) fill(ctx context.Context, partial *os.File) error {
	from, err := os.Open(m.From)
	if err != nil {
		return err
	}
	defer from.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(partial, h), reader{ctx, from}); err != nil {
		return err
	}
	if sum := hexSum(h); sum != m.SHA256 {
		return fmt.Errorf("%w: its sha256 is %s instead of %s", ErrChanged, sum, m.SHA256)
	}
	if err := partial.Chmod(0o644); err != nil {
		return err
	}
	return partial.Sync()
}

// removePartial removes what earlier tries have left. If one of them is still alive, its rename fails and it tries again.
func removePartial(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ok, _ := filepath.Match("."+base+".*.partial", e.Name()); ok {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// reader stops reading when its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
