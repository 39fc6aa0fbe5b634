// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/memory"
	"github.com/understudy-dev/understudy/plugins"
)

// The test binary is also the plugins, and the host, that the tests start: with
// one of these as its first argument.
var helpers = map[string]func(args []string){
	"serve":        func([]string) { serve() },
	"serve-null":   func([]string) { serveDriver(null()) },
	"serve-memory": func([]string) { serveDriver(memory.Driver()) },
	"serve-plain":  func([]string) { _ = os.Unsetenv(plugins.LaneKey); serve() }, // as one that knows no lanes
	"serve-late":   func([]string) { <-time.After(300 * time.Millisecond); serve() },
	"serve-held":   serveHeld,
	"serve-mute":   func([]string) { signal.Ignore(syscall.SIGTERM); serve() },
	"exit-0":       func([]string) { fmt.Fprintln(os.Stdout, "usage: something else") },
	"exit-3":       func([]string) { fmt.Fprintln(os.Stderr, "cannot find the quux"); os.Exit(3) },
	"panic":        func([]string) { panic("no such luck") },
	"hang":         func([]string) { <-time.After(time.Hour) },
	"greet": func([]string) {
		fmt.Fprintln(os.Stdout, "\x1b[1mwelcome\a to "+strings.Repeat("x", 500))
		<-time.After(time.Hour)
	},
	"version-99":   func([]string) { fmt.Fprintln(os.Stdout, "1|99|unix|nowhere|grpc|"); <-time.After(time.Hour) },
	"netrpc":       func([]string) { fmt.Fprintln(os.Stdout, "1|1|unix|nowhere|netrpc|"); <-time.After(time.Hour) },
	"nobody-home":  func([]string) { fmt.Fprintln(os.Stdout, "1|1|unix|nowhere|grpc|"); <-time.After(time.Hour) },
	"serve-after":  serveAfterPrinting,
	"serve-parent": serveWithChild,
	"crash-later":  crashLater,
	"host":         host,
}

// stderr is what the process was started with; while it serves, os.Stderr is not.
var stderr = os.Stderr

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if helper, ok := helpers[os.Args[1]]; ok {
			helper(os.Args[2:])
			return
		}
	}
	goleak.VerifyTestMain(m)
}

func serve() { serveDriver(fake()) }

func serveDriver(d driver.Driver) {
	if err := plugins.Serve(d); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveAfterPrinting prints on standard output what no plugin should.
func serveAfterPrinting([]string) {
	fmt.Fprintln(os.Stdout, "welcome to the plugin")
	fmt.Fprintln(os.Stdout, strings.Repeat("x", 300<<10))
	fmt.Fprintln(os.Stdout, "1|2")
	fmt.Fprint(os.Stdout, "no line end: ")
	serve()
}

// serveWithChild has a child that holds both pipes open, in another process group
// if it is to.
func serveWithChild(args []string) {
	child := exec.CommandContext(context.Background(), self(), "hang")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: len(args) > 0}
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "child", child.Process.Pid)
	serve()
}

// serveHeld serves once the file it is given does not exist.
func serveHeld(args []string) {
	for {
		if _, err := os.Stat(args[0]); err != nil {
			break
		}
		<-time.After(time.Millisecond)
	}
	serve()
}

// crashLater serves until the file it is given exists, and crashes at the start
// while it does.
func crashLater(args []string) {
	if _, err := os.Stat(args[0]); err == nil {
		os.Exit(4)
	}
	serve()
}

// host launches a plugin, prints its pid, and stays.
func host([]string) {
	store, err := plugins.Launch(context.Background(), spec("serve"))
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, store.Status().PID)
	<-time.After(time.Hour)
}

// self is the path of the test binary.
func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// spec returns what to launch a helper with, on a machine that does much else.
func spec(args ...string) plugins.Spec {
	return plugins.Spec{Path: self(), Args: args, Chain: "calls", Link: "first", Driver: "fake",
		StartTimeout: time.Minute, PingTimeout: 10 * time.Second}
}

// fake is a driver whose store does what the tests ask for.
func fake() driver.Driver {
	validate := func(config json.RawMessage) error {
		var c struct {
			Wrong  bool          `json:"wrong"`
			Secret driver.Secret `json:"secret"`
			Slow   bool          `json:"slow"`
		}
		if err := driver.DecodeConfig(config, &c); err != nil {
			return err
		}
		if c.Slow {
			<-time.After(time.Hour)
		}
		if c.Wrong {
			return &driver.Error{Class: driver.Invalid, Detail: "wrong is true: want false"}
		}
		return nil
	}
	return driver.Driver{
		Name: "fake", Version: "1.2.3", Validate: validate,
		Open: func(_ context.Context, req driver.OpenRequest) (driver.Store, error) {
			if err := validate(req.Config); err != nil {
				return nil, err
			}
			return &fakeStore{open: req, closed: make(chan struct{}), records: map[string]driver.Record{}}, nil
		},
	}
}

// fakeStore keeps records in a map. Ids ask Get for deeds.
type fakeStore struct {
	driver.Store

	open   driver.OpenRequest
	closed chan struct{}
	once   sync.Once
	blocks atomic.Int64 // calls that block

	mu      sync.Mutex
	records map[string]driver.Record
}

func (s *fakeStore) Describe(context.Context, driver.DescribeRequest) (driver.DescribeResponse, error) {
	return driver.DescribeResponse{Driver: "fake", Version: "1.2.3", Contract: driver.Contract, Details: map[string]string{
		"chain": s.open.Chain, "link": s.open.Link, "directory": os.Getenv("PLUGIN_UNIX_SOCKET_DIR"),
		"environment": strings.Join(os.Environ(), "\n"), "arguments": strings.Join(os.Args, "\n"),
	}}, nil
}

func (s *fakeStore) Commit(ctx context.Context, req driver.CommitRequest) (driver.CommitResponse, error) {
	if len(req.Transitions) == 1 && req.Transitions[0].Record.ID == "block" {
		return driver.CommitResponse{}, s.block(ctx, true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range req.Transitions {
		s.records[t.Record.ID] = t.Record.Clone()
	}
	verdicts := make([]driver.Verdict, len(req.Transitions))
	for i := range verdicts {
		verdicts[i].Applied = true
	}
	return driver.CommitResponse{Verdicts: verdicts}, nil
}

func (s *fakeStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	switch req.IDs[0] {
	case "block":
		return driver.GetResponse{}, s.block(ctx, false)
	case "blocked": // answers once so many calls block
		for n, _ := strconv.Atoi(req.IDs[1]); s.blocks.Load() < int64(n) && ctx.Err() == nil; {
			<-time.After(time.Millisecond)
		}
	case "ignore context":
		<-s.closed
	case "panic":
		go panic("the fake has panicked")
		<-s.closed
	case "exit":
		os.Exit(5)
	case "log":
		s.open.Logger.Debug("a detail", "n", 1)
		s.open.Logger.Info("a line", "id", req.IDs[1])
		s.open.Logger.Warn("a warning")
		s.open.Logger.Error("an error", "error", errors.New("cause"))
		fmt.Fprintln(os.Stdout, "printed to stdout")
		fmt.Fprintln(os.Stderr, "printed to stderr")
	case "raw":
		for _, line := range req.IDs[1:] {
			fmt.Fprintln(stderr, line)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var resp driver.GetResponse
	for _, id := range req.IDs {
		if r, ok := s.records[id]; ok {
			resp.Records = append(resp.Records, r.Clone())
		}
	}
	return resp, nil
}

func (s *fakeStore) Changes(ctx context.Context, _ driver.ChangesRequest, emit func(driver.ChangeBatch) error) error {
	for n := 0; ; n++ {
		if err := emit(driver.ChangeBatch{Cursor: fmt.Sprint(n)}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return driver.ContextError(ctx, false)
		case <-s.closed:
			return &driver.Error{Class: driver.Unavailable, Detail: "closed"}
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *fakeStore) block(ctx context.Context, mutation bool) error {
	s.blocks.Add(1)
	select {
	case <-ctx.Done():
		return driver.ContextError(ctx, mutation)
	case <-s.closed:
		return &driver.Error{Class: driver.Unavailable, Detail: "closed"}
	}
}

func (s *fakeStore) Close(context.Context) error {
	s.once.Do(func() {
		s.open.Logger.Info("store closed")
		close(s.closed)
	})
	return nil
}
