// SPDX-License-Identifier: Apache-2.0

// Package wavtest makes small WAV files for tests.
package wavtest

import (
	"encoding/binary"
	"time"
)

// Rate is the sample rate of the files, the one of telephones.
const Rate = 8000

// Chunk is one chunk of a RIFF file.
func Chunk(id string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(id), uint32(len(data)))
	b = append(b, data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// RIFF is a WAVE file of the chunks.
func RIFF(chunks ...[]byte) []byte {
	body := []byte("WAVE")
	for _, c := range chunks {
		body = append(body, c...)
	}
	return Chunk("RIFF", body)
}

// Format is the contents of a format chunk.
func Format(code, channels uint16, rate, byteRate uint32, block, bits uint16) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, code)
	b = le.AppendUint16(b, channels)
	b = le.AppendUint32(b, rate)
	b = le.AppendUint32(b, byteRate)
	b = le.AppendUint16(b, block)
	return le.AppendUint16(b, bits)
}

// PCM is a whole recording of the length: 8 kHz, 16 bits, one channel. The seed makes recordings differ.
func PCM(length time.Duration, seed byte) []byte {
	samples := make([]byte, 2*int(length*Rate/time.Second))
	for i := range samples {
		samples[i] = byte(i)*3 + seed
	}
	return RIFF(Chunk("fmt ", Format(1, 1, Rate, 2*Rate, 2, 16)), Chunk("data", samples))
}
