// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// redisServer is a Redis server that keeps nothing over its death.
type redisServer struct {
	binary, dir, log string
	port             int
	cmd              *exec.Cmd
	ended            chan struct{}
}

// newRedis prepares a server on a free port. The error says how to install Redis if it is not there.
func newRedis(ctx context.Context, dir, log string) (*redisServer, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("the demo needs Redis: sudo apt-get install redis-server: %w", err)
	}
	port, err := freePort(ctx)
	return &redisServer{binary: binary, dir: dir, log: log, port: port}, err
}

// freePort returns a free port on which the server can come back: the system gives none of those below 32768 to
// connections on their way out, so nobody gets this one while the server is down.
func freePort(ctx context.Context) (int, error) {
	for tries := 0; ; tries++ {
		port := 16384 + rand.IntN(16384)
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		switch {
		case err == nil:
			return port, listener.Close()
		case tries == 100:
			return 0, fmt.Errorf("no free port for Redis: %w", err)
		}
	}
}

func (r *redisServer) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// start starts the server, empty, and waits until it answers.
func (r *redisServer) start(ctx context.Context) error {
	log, err := os.OpenFile(r.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.Command(r.binary, "--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--dir", r.dir, //nolint:noctx // stop ends it
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--maxmemory-policy", "noeviction")
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = r.dir, log, log
	r.cmd.SysProcAttr = ofOurs()
	if err := r.cmd.Start(); err != nil {
		return fmt.Errorf("start Redis: %w", err)
	}
	ended, cmd := make(chan struct{}), r.cmd
	r.ended = ended
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	for !r.answers(ctx) {
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ended:
			return fmt.Errorf("redis-server has ended by itself: see %s", r.log)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// answers reports whether a Redis server answers on the port, and not somebody else.
func (r *redisServer) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address())
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	const pong = "+PONG\r\n"
	answer := make([]byte, len(pong))
	_, err1 := io.WriteString(conn, "PING\r\n")
	_, err2 := io.ReadFull(conn, answer)
	return err1 == nil && err2 == nil && string(answer) == pong
}

func (r *redisServer) signal(s syscall.Signal) error {
	if err := r.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal to redis-server: %w", err)
	}
	return nil
}

// kill ends the server with SIGKILL and waits until it is gone.
func (r *redisServer) kill() {
	if r.cmd == nil || r.cmd.Process == nil {
		return
	}
	_ = r.cmd.Process.Kill() // it may have ended
	<-r.ended
}

// ofOurs makes a process end with this one, and leaves the signals of the terminal to this one.
func ofOurs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
