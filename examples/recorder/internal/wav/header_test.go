// SPDX-License-Identifier: Apache-2.0

package wav_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/examples/recorder/internal/wav"
	"github.com/understudy-dev/understudy/examples/recorder/internal/wavtest"
)

func readHeader(b []byte) (wav.Header, error) {
	return wav.ReadHeader(bytes.NewReader(b), int64(len(b)))
}

func TestReadHeaderAccepts(t *testing.T) {
	t.Parallel()
	pcm := wavtest.Chunk("fmt ", wavtest.Format(1, 1, 8000, 16000, 2, 16))
	tests := []struct {
		name   string
		file   []byte
		format wav.Format
		length time.Duration
		offset int64
	}{
		{"plain PCM", wavtest.PCM(1500*time.Millisecond, 1), wav.PCM, 1500 * time.Millisecond, 44},
		{"no samples", wavtest.PCM(0, 1), wav.PCM, 0, 44},
		{
			"stereo A-law", wavtest.RIFF(wavtest.Chunk("fmt ", wavtest.Format(6, 2, 8000, 16000, 2, 8)), wavtest.Chunk("data", make([]byte, 32000))),
			wav.ALaw, 2 * time.Second, 44,
		},
		{
			"GSM 6.10 as Asterisk's wav49", wavtest.RIFF(
				wavtest.Chunk("fmt ", append(wavtest.Format(0x31, 1, 8000, 1625, 65, 0), 2, 0, 0x40, 1)),
				wavtest.Chunk("fact", []byte{0, 0, 0, 0}), wavtest.Chunk("data", make([]byte, 3250))),
			wav.GSM610, 2 * time.Second, 60,
		},
		{
			"extensible", wavtest.RIFF(
				wavtest.Chunk("fmt ", append(wavtest.Format(0xFFFE, 1, 8000, 16000, 2, 16), 22, 0, 16, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0)),
				wavtest.Chunk("data", make([]byte, 16000))),
			wav.PCM, time.Second, 60,
		},
		{"odd chunk before the samples", wavtest.RIFF(pcm, wavtest.Chunk("LIST", []byte("abc")), wavtest.Chunk("data", make([]byte, 16000))), wav.PCM, time.Second, 56},
		{"chunk after the samples", wavtest.RIFF(pcm, wavtest.Chunk("data", make([]byte, 16000)), wavtest.Chunk("LIST", []byte("abcd"))), wav.PCM, time.Second, 44},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := readHeader(tt.file)
			require.NoError(t, err)
			require.Equal(t, tt.format, h.Format)
			require.Equal(t, tt.length, h.Duration())
			require.Equal(t, tt.offset, h.DataOffset)
		})
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	t.Parallel()
	data := wavtest.Chunk("data", make([]byte, 16))
	format := func(b []byte) []byte { return wavtest.RIFF(wavtest.Chunk("fmt ", b), data) }
	unclosed := wavtest.PCM(time.Second, 1)
	binary.LittleEndian.PutUint32(unclosed[40:], 0)
	many := make([][]byte, 2000)
	for i := range many {
		many[i] = wavtest.Chunk("junk", nil)
	}
	tests := []struct {
		name   string
		file   []byte
		kind   error
		detail string
	}{
		{"empty", nil, wav.ErrTruncated, "at byte 0: the file of 0 bytes ends within the RIFF header"},
		{"text", []byte("The recording was lost."), wav.ErrNotWAV, `begins with "The "`},
		{"another RIFF", append([]byte("RIFF\x04\x00\x00\x00AVI "), data...), wav.ErrNotWAV, `of type "AVI "`},
		{"RF64", append([]byte("RF64\xff\xff\xff\xffWAVE"), data...), wav.ErrUnsupported, "4 GiB"},
		{"no samples chunk", wavtest.RIFF(wavtest.Chunk("fmt ", wavtest.Format(1, 1, 8000, 16000, 2, 16))), wav.ErrTruncated, "ends before the samples"},
		{"cut off in the samples", wavtest.PCM(time.Second, 1)[:8044], wav.ErrTruncated, "promises 16000 bytes of samples, 8000 are there"},
		{"never closed", unclosed, wav.ErrTruncated, "never closed"},
		{"samples before the format", wavtest.RIFF(data), wav.ErrMalformed, "before the format chunk"},
		{"short format", format([]byte{1, 0, 1, 0}), wav.ErrMalformed, "a format chunk of 4 bytes"},
		{"huge format", format(make([]byte, 5000)), wav.ErrMalformed, "a format chunk of 5000 bytes"},
		{"no channels", format(wavtest.Format(1, 0, 8000, 16000, 2, 16)), wav.ErrMalformed, "none may be 0"},
		{"contradictory rates", format(wavtest.Format(1, 1, 8000, 8000, 2, 16)), wav.ErrMalformed, "no 8000 bytes/s"},
		{"half a sample", wavtest.RIFF(wavtest.Chunk("fmt ", wavtest.Format(1, 1, 8000, 16000, 2, 16)), wavtest.Chunk("data", make([]byte, 15))), wav.ErrMalformed, "no multiple"},
		{"MP3 in WAV", format(wavtest.Format(0x55, 1, 8000, 1000, 1, 0)), wav.ErrUnsupported, "format 0x0055"},
		{"endless chunks", wavtest.RIFF(many...), wav.ErrMalformed, "within 1000 chunks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := readHeader(tt.file)
			require.ErrorIs(t, err, tt.kind)
			require.ErrorContains(t, err, tt.detail)
		})
	}
}

func TestReadHeaderRefusesEveryBeginning(t *testing.T) {
	t.Parallel()
	whole := wavtest.PCM(10*time.Millisecond, 1)
	for n := range len(whole) {
		_, err := readHeader(whole[:n])
		require.ErrorIs(t, err, wav.ErrTruncated, "the first %d bytes", n)
	}
}

func TestReadHeaderPassesReadErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk error")
	_, err := wav.ReadHeader(readerAt(func([]byte, int64) (int, error) { return 0, broken }), 100)
	require.ErrorIs(t, err, broken)
	var damage *wav.Error
	require.NotErrorAs(t, err, &damage, "an unreadable disk is no damaged recording")
}

type readerAt func([]byte, int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func FuzzReadHeader(f *testing.F) {
	f.Add(wavtest.PCM(10*time.Millisecond, 1))
	f.Add(wavtest.RIFF(wavtest.Chunk("data", nil)))
	f.Add([]byte("RIFF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(b)
		if err != nil {
			var damage *wav.Error
			require.ErrorAs(t, err, &damage)
			require.LessOrEqual(t, damage.Offset, int64(len(b)))
			return
		}
		require.GreaterOrEqual(t, h.Duration(), time.Duration(0))
		require.LessOrEqual(t, h.DataOffset+h.DataBytes, int64(len(b)))
	})
}
