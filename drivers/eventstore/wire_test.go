// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// tap stands between a client and a server and notes the header of each call.
type tap struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	types  map[string]map[string]bool // content types by path
	faults []error
}

func newTap(t *testing.T, target string) *tap {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tapped := &tap{listener: listener, target: target, types: map[string]map[string]bool{}}
	tapped.wg.Go(tapped.accept)
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		tapped.mu.Lock()
		for _, c := range tapped.conns {
			_ = c.Close()
		}
		tapped.mu.Unlock()
		tapped.wg.Wait()
	})
	return tapped
}

func (p *tap) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).Dial("tcp", p.target)
		if err != nil {
			p.fault(err)
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		copied, copying := io.Pipe()
		p.wg.Go(func() { p.read(copied) })
		p.wg.Go(func() {
			_, err := io.Copy(server, io.TeeReader(client, copying))
			_ = copying.CloseWithError(errors.Join(io.EOF, err))
			_ = server.Close()
		})
		p.wg.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		})
	}
}

// read parses what a client sends, to its end.
func (p *tap) read(sent *io.PipeReader) {
	defer func() { _, _ = io.Copy(io.Discard, sent) }()
	r := bufio.NewReader(sent)
	if _, err := r.Discard(len(http2.ClientPreface)); err != nil {
		return
	}
	framer := http2.NewFramer(io.Discard, r)
	framer.SetMaxReadFrameSize(1<<24 - 1)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if headers, ok := frame.(*http2.MetaHeadersFrame); ok {
			p.note(headers)
		}
	}
}

func (p *tap) note(headers *http2.MetaHeadersFrame) {
	contentType := ""
	for _, f := range headers.RegularFields() {
		if f.Name == "content-type" {
			contentType = f.Value
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	path := headers.PseudoValue("path")
	if p.types[path] == nil {
		p.types[path] = map[string]bool{}
	}
	p.types[path][contentType] = true
}

func (p *tap) fault(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, err)
}

// seen returns the content types by path, once all paths were called.
func (p *tap) seen(t *testing.T, paths ...string) map[string]map[string]bool {
	t.Helper()
	eventually(t, patience, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, path := range paths {
			if p.types[path] == nil {
				return fmt.Errorf("no call of %s: %w", path, errors.Join(p.faults...))
			}
		}
		return nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.types
}

// TestCallsHaveTheContentTypeOfTheOfficialClient: some releases of EventStoreDB take
// exactly application/grpc for their protocol. With application/grpc+proto, which
// gRPC sends for a codec that has a name, they look for a page of their HTTP
// interface and answer that there is none.
func TestCallsHaveTheContentTypeOfTheOfficialClient(t *testing.T) {
	t.Parallel()
	server := start(t, devserver.Options{})
	const (
		appends = "/event_store.client.streams.Streams/Append"
		reads   = "/event_store.client.streams.Streams/Read"
	)
	official := newTap(t, server.Addresses()[0])
	o := newOperator(t, "esdb://"+official.listener.Addr().String()+"?tls=false")
	o.append("other", "T", "{}")
	o.events("other")
	require.Equal(t, map[string]bool{"application/grpc": true}, official.seen(t, appends, reads)[appends])

	own := newTap(t, server.Addresses()[0])
	s := open(t, patient(settings{"hosts": []string{own.listener.Addr().String()}, "discover": false})).ready()
	s.put("a")
	s.probe()
	require.NoError(t, eventstore.NewLog(t, calm(own.listener.Addr().String()).json(t), journalStream).Truncate(t.Context(), 1))
	for path, types := range own.seen(t, appends, reads) {
		require.Equal(t, map[string]bool{"application/grpc": true}, types, path)
	}
}
