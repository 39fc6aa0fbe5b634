// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins/wire"
)

// How long a process that is to end lets calls in flight and the store end: less
// than the host's StopTimeout together.
const (
	drainTimeout = time.Second            // for calls to end by themselves, if somebody still listens
	closeTimeout = 700 * time.Millisecond // for the store to close
	flushTimeout = 50 * time.Millisecond  // for the last answers to leave
)

// Serve serves d to the host that started this program, until the host has gone
// or wants it to end. It is all that the main of a plugin does:
//
//	func main() {
//		if err := plugins.Serve(mydriver.Driver()); err != nil {
//			fmt.Fprintln(os.Stderr, err)
//			os.Exit(1)
//		}
//	}
//
// It returns nil when all is over, and an error when no host has started the
// program, or d is incomplete (see [driver.Driver.Check]). Nothing may be printed to
// standard output before. The driver's log lines go to the host through the logger
// it is opened with; whatever else is printed to standard output or standard error
// arrives there as well.
//
// SIGINT is ignored, since a Ctrl-C meant for the host reaches all its
// processes; on SIGTERM new calls are refused and those in flight may end.
// The process does not outlive its host.
func Serve(d driver.Driver) error {
	if err := d.Check(); err != nil {
		return err
	}
	if os.Getenv(cookieKey) != cookieValue {
		return fmt.Errorf("%s is the %s driver as a plugin (version %s): it does not run by itself, "+
			"name it as the plugin of a link in the configuration of a host", filepath.Base(os.Args[0]), d.Name, d.Version)
	}
	// go-plugin puts pipes of its own in the place of these.
	stderr, parent := os.Stderr, os.Getppid()

	logger := slog.New(logHandler(stderr))
	server := wire.NewServer(d, logger)
	serveLane(server, logger)
	transport := make(chan *grpc.Server, 1)
	listening := false
	served := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := end(server, transport, parent, served); err != nil {
			logger.Warn("the store was not closed in order", "error", err.Error())
		}
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: pluginSets(server),
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(append(options, wire.ServerOptions()...)...)
			transport <- s
			listening = true
			return s
		},
	})
	close(served)
	<-ended
	if !listening {
		return errors.New("the plugin could not listen for its host: see the lines above")
	}
	return nil
}

// end waits for what ends the process, and ends it in order. It returns what did
// not end so.
func end(server *wire.Server, transport <-chan *grpc.Server, parent int, served <-chan struct{}) error {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	defer signal.Stop(terminate)

	var drain time.Duration
	select {
	case <-served: // the host has asked for it
	case <-terminate:
		drain = drainTimeout
	case <-hostGone(parent, served):
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain+closeTimeout)
	defer cancel()
	shut := make(chan error, 1)
	go func() { shut <- server.Shutdown(ctx, drain) }()
	var err error
	select {
	case err = <-shut:
	case <-ctx.Done():
		err = errors.New("the driver does not keep to its context")
	}
	select {
	case <-served:
	case s := <-transport:
		stop := time.AfterFunc(flushTimeout, s.Stop) // the streams of go-plugin never end by themselves
		s.GracefulStop()
		stop.Stop()
	}
	return err
}

// logHandler writes lines as the host reads them: those of hclog.
func logHandler(w io.Writer) slog.Handler {
	level := slog.LevelDebug
	_ = level.UnmarshalText([]byte(os.Getenv(logLevelKey))) // without it the host gets all lines
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		switch a.Key {
		case slog.TimeKey:
			return slog.String(keyTimestamp, a.Value.Time().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
		case slog.LevelKey:
			return slog.String(keyLevel, strings.ToLower(a.Value.String()))
		case slog.MessageKey:
			return slog.Attr{Key: keyMessage, Value: a.Value}
		}
		return a
	}})
}

// The keys of a line of hclog.
const (
	keyTimestamp = "@timestamp"
	keyLevel     = "@level"
	keyMessage   = "@message"
)
