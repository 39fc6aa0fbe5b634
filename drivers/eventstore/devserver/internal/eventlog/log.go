// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// FileName is the name of the file in the data directory.
const FileName = "events.bolt"

var (
	bucketLog     = []byte("log")     // position → record
	bucketIndex   = []byte("index")   // stream number, revision → position
	bucketStreams = []byte("streams") // stream name → head
	bucketFormat  = []byte("format")  // "version" → formatVersion

	keyVersion    = []byte("version")
	formatVersion = []byte("1")
)

// firstPosition is that of the first record of a log. It is not 0, so that 0 can stand for none and for the start.
const firstPosition = 64

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = time.Second

// Log is an open data file. Its methods may be called by any number of goroutines. Its own View is all of it.
type Log struct {
	View

	// Only the writing goroutine uses these.
	ids         *idCache
	next        uint64 // position of the next record
	streams     uint64 // number of streams so far
	lastCreated int64

	mu      sync.Mutex
	pending []*Pending
	closed  bool
	changed chan struct{} // closed at the next commit
	wake    chan struct{}
	stopped chan struct{}
}

// Open opens the data file in dir, or creates it. recentIDs is how many event ids are remembered for repeats under
// Any and StreamExists. A file that another process holds, or of another format, is an error.
func Open(dir string, recentIDs int) (*Log, error) {
	path := filepath.Join(dir, FileName)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: another process uses it; stop that one or choose another data directory: %w", path, err)
	}
	if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
		return nil, fmt.Errorf("open %s: not a file of the development server, or a damaged one; remove it or choose another data directory: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	l := &Log{
		View: View{db: db}, ids: newIDCache(recentIDs), next: firstPosition,
		changed: make(chan struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	go l.run()
	return l, nil
}

// load makes the buckets if they are missing and finds the ends of the log and of the stream numbers.
func (l *Log) load() error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketLog, bucketIndex, bucketStreams, bucketFormat} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		format := tx.Bucket(bucketFormat)
		switch v := format.Get(keyVersion); {
		case v == nil:
			if err := format.Put(keyVersion, formatVersion); err != nil {
				return err
			}
		case !bytes.Equal(v, formatVersion):
			return fmt.Errorf("format %q is not %q: use the version that wrote it, or another data directory", v, formatVersion)
		}
		l.streams = tx.Bucket(bucketStreams).Sequence()
		if k, v := tx.Bucket(bucketLog).Cursor().Last(); k != nil {
			l.next = nextPosition(k, v)
			if v[0] == kindEvent {
				l.lastCreated = created(v)
			}
		}
		return nil
	})
}

// Close refuses further calls, finishes the writes that were accepted, and closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true
	l.mu.Unlock()
	l.signal()
	<-l.stopped
	return l.db.Close()
}

// Changed returns a channel that is closed when the next commit has become visible. To miss none, take the channel
// before reading.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *Log) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
