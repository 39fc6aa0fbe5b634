// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fake is a server that greets like Redis and answers everything else by a script.
type fake struct {
	addr string
	// reply gives the raw answer to a command; "" closes the connection, "-" alone
	// never answers.
	reply func(command []string) string

	mu       sync.Mutex
	commands []string // names, but those of the greeting and the client's own checks
	conns    []net.Conn
	accepted int
}

const greeting = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n" +
	"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"

func startFake(t *testing.T, reply func(command []string) string) *fake {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serveFake(t, l, reply)
}

func serveFake(t *testing.T, l net.Listener, reply func(command []string) string) *fake {
	t.Helper()
	f := &fake{addr: l.Addr().String(), reply: reply}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.accepted++
			f.mu.Unlock()
			serving.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		f.hangUp()
		serving.Wait()
	})
	return f
}

func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		command, err := readCommand(r)
		if err != nil {
			return
		}
		var answer string
		switch command[0] {
		case "HELLO":
			if answer = f.reply(command); answer == "" {
				answer = greeting
			}
		case "PING":
			answer = "+PONG\r\n"
		default:
			f.mu.Lock()
			f.commands = append(f.commands, command[0])
			f.mu.Unlock()
			if answer = f.reply(command); answer == "" {
				return
			}
		}
		if answer == "-" {
			continue
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// sent returns the commands that have come, and how many connections.
func (f *fake) sent() (commands []string, connections int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.commands), f.accepted
}

func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readCount(r, '*')
	if err != nil {
		return nil, err
	}
	command := make([]string, n)
	for i := range command {
		size, err := readCount(r, '$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		command[i] = string(b[:size])
	}
	return command, nil
}

func readCount(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	line = strings.TrimSpace(line)
	if line == "" || line[0] != kind {
		return 0, fmt.Errorf("want %c, got %q", kind, line)
	}
	return strconv.Atoi(line[1:])
}
