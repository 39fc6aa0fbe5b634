// SPDX-License-Identifier: Apache-2.0

// Package wav reads the header of WAV recordings and finds those that are damaged. It reads no samples.
//
// The format is described in Microsoft's and IBM's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF
// WAVE) and, for the formats telephones use, in RFC 2361.
package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Format is the code of the encoding of the samples.
type Format uint16

// The encodings that recorders of telephone calls write.
const (
	PCM        Format = 0x0001
	IEEEFloat  Format = 0x0003
	ALaw       Format = 0x0006
	MuLaw      Format = 0x0007
	GSM610     Format = 0x0031
	extensible Format = 0xFFFE
)

// String is the name of the encoding, or its number if it has no name here.
func (f Format) String() string {
	switch f {
	case PCM:
		return "PCM"
	case IEEEFloat:
		return "IEEE float"
	case ALaw:
		return "A-law"
	case MuLaw:
		return "µ-law"
	case GSM610:
		return "GSM 6.10"
	default:
		return fmt.Sprintf("format 0x%04X", uint16(f))
	}
}

// Header is what a WAV file says of its samples.
type Header struct {
	Format        Format
	Channels      int
	SampleRate    int // per second and channel
	ByteRate      int // bytes per second
	BlockAlign    int // bytes of the smallest unit that can be decoded
	BitsPerSample int // 0 for GSM 6.10
	DataOffset    int64
	DataBytes     int64
}

// Duration is the length of the recording.
func (h *Header) Duration() time.Duration {
	return time.Duration(h.DataBytes * int64(time.Second) / int64(h.ByteRate)) // 32-bit lengths: no overflow
}

const (
	riffHeader  = 12
	chunkHeader = 8
	minFmt      = 16
	maxFmt      = 1 << 10
	maxChunks   = 1000
)

// ReadHeader reads the header of a file of the given size. It returns an [*Error] that wraps [ErrNotWAV],
// [ErrTruncated], [ErrMalformed] or [ErrUnsupported] for a file it cannot accept; any other error is one of reading.
// A header it returns is consistent in itself and with the size.
func ReadHeader(r io.ReaderAt, size int64) (Header, error) {
	b, err := read(r, size, 0, riffHeader, "RIFF header")
	if err != nil {
		return Header{}, err
	}
	switch {
	case string(b[:4]) == "RF64":
		return Header{}, fail(ErrUnsupported, 0, "RF64 recordings of more than 4 GiB are not supported")
	case string(b[:4]) != "RIFF":
		return Header{}, fail(ErrNotWAV, 0, "begins with %q instead of \"RIFF\"", b[:4])
	case string(b[8:12]) != "WAVE":
		return Header{}, fail(ErrNotWAV, 8, "a RIFF file of type %q instead of \"WAVE\"", b[8:12])
	}

	var h Header
	offset := int64(riffHeader)
	for range maxChunks {
		if offset == size {
			return Header{}, fail(ErrTruncated, offset, "the file ends before the samples")
		}
		b, err := read(r, size, offset, chunkHeader, "chunk header")
		if err != nil {
			return Header{}, err
		}
		id, length := string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:]))
		offset += chunkHeader
		switch id {
		case "fmt ":
			if h, err = readFormat(r, size, offset, length); err != nil {
				return Header{}, err
			}
		case "data":
			return h.withData(size, offset, length)
		}
		offset += length + length%2
	}
	return Header{}, fail(ErrMalformed, offset, "no samples within %d chunks", maxChunks)
}

// read returns n bytes at offset, or an ErrTruncated if the file ends before.
func read(r io.ReaderAt, size, offset, n int64, what string) ([]byte, error) {
	if offset+n > size {
		return nil, fail(ErrTruncated, min(offset, size), "the file of %d bytes ends within the %s", size, what)
	}
	b := make([]byte, n)
	if got, err := r.ReadAt(b, offset); err != nil && (!errors.Is(err, io.EOF) || got < len(b)) {
		return nil, fmt.Errorf("read %s at byte %d: %w", what, offset, err)
	}
	return b, nil
}

func readFormat(r io.ReaderAt, size, offset, length int64) (Header, error) {
	if length < minFmt || length > maxFmt {
		return Header{}, fail(ErrMalformed, offset, "a format chunk of %d bytes; at least %d are needed", length, minFmt)
	}
	b, err := read(r, size, offset, length, "format chunk")
	if err != nil {
		return Header{}, err
	}
	le := binary.LittleEndian
	h := Header{
		Format:        Format(le.Uint16(b)),
		Channels:      int(le.Uint16(b[2:])),
		SampleRate:    int(le.Uint32(b[4:])),
		ByteRate:      int(le.Uint32(b[8:])),
		BlockAlign:    int(le.Uint16(b[12:])),
		BitsPerSample: int(le.Uint16(b[14:])),
	}
	if h.Format == extensible && length >= 26 {
		h.Format = Format(le.Uint16(b[24:])) // the first two bytes of the sub-format's GUID
	}
	if err := h.check(offset); err != nil {
		return Header{}, err
	}
	return h, nil
}

func (h *Header) check(offset int64) error {
	if h.Channels == 0 || h.SampleRate == 0 || h.ByteRate == 0 || h.BlockAlign == 0 {
		return fail(ErrMalformed, offset, "%d channels, %d samples/s, %d bytes/s, blocks of %d bytes: none may be 0",
			h.Channels, h.SampleRate, h.ByteRate, h.BlockAlign)
	}
	switch h.Format {
	case PCM, IEEEFloat, ALaw, MuLaw:
		block := h.Channels * ((h.BitsPerSample + 7) / 8)
		if h.BitsPerSample == 0 || h.BlockAlign != block || h.ByteRate != h.SampleRate*block {
			return fail(ErrMalformed, offset, "%d channels of %d bits at %d/s make no blocks of %d bytes and no %d bytes/s",
				h.Channels, h.BitsPerSample, h.SampleRate, h.BlockAlign, h.ByteRate)
		}
		return nil
	case GSM610:
		return nil
	default:
		return fail(ErrUnsupported, offset, "encoding %s is not supported", h.Format)
	}
}

// withData checks the samples against the file and completes the header.
func (h Header) withData(size, offset, length int64) (Header, error) {
	left := size - offset
	switch {
	case h.Format == 0:
		return Header{}, fail(ErrMalformed, offset, "the samples come before the format chunk")
	case length > left:
		return Header{}, fail(ErrTruncated, size, "the header promises %d bytes of samples, %d are there", length, left)
	case length == 0 && left > 0:
		return Header{}, fail(ErrTruncated, offset, "the header promises no samples, %d bytes follow: the recording was never closed", left)
	case h.Format != GSM610 && length%int64(h.BlockAlign) != 0:
		return Header{}, fail(ErrMalformed, offset, "%d bytes of samples are no multiple of the block of %d bytes", length, h.BlockAlign)
	}
	h.DataOffset, h.DataBytes = offset, length
	return h, nil
}
