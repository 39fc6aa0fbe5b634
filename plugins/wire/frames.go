// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"google.golang.org/grpc/mem"
)

// A frame is: length of the rest (4 bytes), kind (1 byte), number of the call
// (8 bytes), content. Numbers are little-endian.
const (
	frameHello   = 0 // from the server, once: the version of the lane
	frameRequest = 1 // timeout in nanoseconds (8 bytes, 0: none), length of the method's name (1 byte), name, message
	frameAnswer  = 2 // code of gRPC (4 bytes), message; or the text of an error
	frameCancel  = 3 // nobody waits for the answer any more
)

const (
	frameHead     = 4 + frameNumbers
	frameNumbers  = 1 + 8
	requestNumber = 8 + 1
	answerNumber  = 4

	// laneVersion is what a server says in its hello. A client that does not know it
	// leaves the lane alone.
	laneVersion = 1

	// maxFrame is the length of the longest frame.
	maxFrame = MaxMessageBytes + 1<<10
	// maxQueued bounds what waits for an other end that does not read.
	maxQueued = maxFrame
	// maxKept is the size of the largest piece of memory that is used again.
	maxKept = 1 << 20
)

// errStuffed is the error of a frame that does not fit into the queue.
var errStuffed = errors.New("the other end does not read")

// frames sends and receives frames over a connection. Whoever sends writes by
// himself what the connection takes at once, so that a frame costs no change of
// goroutines; only what is left over waits, and nobody waits for it.
type frames struct {
	conn io.ReadWriteCloser
	raw  syscall.RawConn // of conn; nil: it can only be written to in the background

	mu      sync.Mutex
	queue   []byte // to be written next
	spare   []byte // memory of an earlier queue
	writing bool   // somebody is, and looks at the queue again
	err     error  // why nothing is sent any more
}

func newFrames(conn io.ReadWriteCloser) *frames {
	f := &frames{conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			f.raw = raw
		}
	}
	return f
}

// ready returns why a frame would not be sent now; nil if it would.
func (f *frames) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refusal()
}

// refusal is ready. The caller holds f.mu.
func (f *frames) refusal() error {
	if f.err == nil && len(f.queue) >= maxQueued {
		return errStuffed
	}
	return f.err
}

// send sends a frame or queues it. It does not wait, and keeps nothing of what it
// is given.
func (f *frames) send(kind byte, call uint64, numbers []byte, message mem.BufferSlice) error {
	size := frameNumbers + len(numbers) + message.Len()
	if size > maxFrame {
		return fmt.Errorf("a frame of %d bytes: the limit is %d", size, maxFrame)
	}
	f.mu.Lock()
	if err := f.refusal(); err != nil {
		f.mu.Unlock()
		return err
	}
	f.queue = binary.LittleEndian.AppendUint32(f.queue, uint32(size))
	f.queue = append(f.queue, kind)
	f.queue = binary.LittleEndian.AppendUint64(f.queue, call)
	f.queue = append(f.queue, numbers...)
	for _, part := range message {
		f.queue = append(f.queue, part.ReadOnlyData()...)
	}
	if f.writing {
		f.mu.Unlock()
		return nil
	}
	f.writing = true
	batch := f.take()
	f.mu.Unlock()

	written, err := writeAtOnce(f.raw, batch)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && written == len(batch) && len(f.queue) == 0 {
		f.keep(batch)
		f.writing = false
		return nil
	}
	go f.write(batch, written) // which meets the same error, if there was one
	return nil
}

// take empties the queue. The caller holds f.mu.
func (f *frames) take() []byte {
	batch := f.queue
	f.queue, f.spare = f.spare[:0], nil
	return batch
}

// keep takes memory back that was written. The caller holds f.mu.
func (f *frames) keep(batch []byte) {
	if f.spare == nil && cap(batch) <= maxKept {
		f.spare = batch[:0]
	}
}

// write writes what is left of a batch, and all that is queued meanwhile.
func (f *frames) write(batch []byte, written int) {
	for {
		_, err := f.conn.Write(batch[written:])
		if err != nil {
			f.close(err)
			return
		}
		f.mu.Lock()
		f.keep(batch)
		if len(f.queue) == 0 {
			f.writing = false
			f.mu.Unlock()
			return
		}
		batch, written = f.take(), 0
		f.mu.Unlock()
	}
}

// receive hands on frames until the connection ends, and returns why. The content
// is the receiver's.
func (f *frames) receive(take func(kind byte, call uint64, content []byte) error) error {
	r := bufio.NewReaderSize(f.conn, bufferBytes)
	for {
		var head [frameHead]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(head[:])
		if size < frameNumbers || size > maxFrame {
			return fmt.Errorf("a frame of %d bytes, want %d to %d", size, frameNumbers, maxFrame)
		}
		content := make([]byte, size-frameNumbers)
		if _, err := io.ReadFull(r, content); err != nil {
			return err
		}
		if err := take(head[4], binary.LittleEndian.Uint64(head[5:]), content); err != nil {
			return err
		}
	}
}

// close ends the connection. Frames are refused from now on, for the first reason
// that was given.
func (f *frames) close(why error) {
	f.mu.Lock()
	if f.err == nil {
		f.err = why
	}
	f.mu.Unlock()
	_ = f.conn.Close() // what was not written is lost
}
