// SPDX-License-Identifier: Apache-2.0

package plugins_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/plugins"
)

func TestLaunchRefuses(t *testing.T) {
	t.Parallel()
	with := func(change func(*plugins.Spec), args ...string) plugins.Spec {
		s := spec(args...)
		change(&s)
		return s
	}
	short := func(s *plugins.Spec) { s.StartTimeout = 300 * time.Millisecond }
	for name, test := range map[string]struct {
		spec  plugins.Spec
		class driver.Class
		says  []string
	}{
		"NoPath":       {with(func(s *plugins.Spec) { s.Path = "" }), driver.Invalid, []string{"path is empty"}},
		"BadSum":       {with(func(s *plugins.Spec) { s.SHA256 = "12" }), driver.Invalid, []string{"want 64 hexadecimal digits"}},
		"BadNames":     {with(func(s *plugins.Spec) { s.Chain, s.Link = "", "A" }), driver.Invalid, []string{`chain ""`, `link "A"`}},
		"BadTimeout":   {with(func(s *plugins.Spec) { s.WaitTimeout = -1 }), driver.Invalid, []string{"wait timeout is -1ns"}},
		"Missing":      {with(func(s *plugins.Spec) { s.Path += "-missing" }), driver.Invalid, []string{"does not exist"}},
		"Folder":       {with(func(s *plugins.Spec) { s.Path = filepath.Dir(s.Path) }), driver.Invalid, []string{"is not a file"}},
		"NotAPlugin":   {spec("exit-0"), driver.Invalid, []string{"not an Understudy plugin", `it printed "usage: something else"`}},
		"OtherVersion": {spec("version-99"), driver.Invalid, []string{"speaks version 99", "this host version 1"}},
		"OtherDriver":  {with(func(s *plugins.Spec) { s.Driver = "redis" }, "serve"), driver.Invalid, []string{"driver fake, want driver redis"}},
		"Config":       {with(func(s *plugins.Spec) { s.Config = json.RawMessage(`{"wrong":true}`) }, "serve"), driver.Invalid, []string{"wrong is true: want false"}},
		"NetRPC":       {spec("netrpc"), driver.Unavailable, []string{"failed after its handshake", "netrpc"}},
		"ExitsAtStart": {spec("exit-3"), driver.Unavailable, []string{"exit status 3", "cannot find the quux"}},
		"PanicsAtOnce": {spec("panic"), driver.Unavailable, []string{"exit status 2", "panic: no such luck"}},
		"NoTime":       {with(func(s *plugins.Spec) { s.StartTimeout = time.Nanosecond }, "serve"), driver.Unavailable, []string{"was not started", "deadline exceeded"}},
		"NoHandshake":  {with(short, "hang"), driver.Unavailable, []string{"did not complete its handshake"}},
		"Greets":       {with(func(s *plugins.Spec) { s.StartTimeout = 5 * time.Second }, "greet"), driver.Unavailable, []string{"did not complete its handshake", `it printed "\x1b[1mwelcome\a to x`, `x…"`}},
		"NobodyHome":   {with(func(s *plugins.Spec) { s.StartTimeout = 3 * time.Second }, "nobody-home"), driver.Unavailable, []string{"open", "connection to the driver was lost"}},
		"OpenIsStuck":  {with(func(s *plugins.Spec) { s.StartTimeout, s.Config = 3*time.Second, json.RawMessage(`{"slow":true}`) }, "serve"), driver.Unavailable, []string{"open", "deadline"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := plugins.Launch(t.Context(), test.spec)
			for !saysAll(err, test.says) && test.spec.StartTimeout < time.Minute {
				test.spec.StartTimeout *= 3 // the plugin did not come that far on a busy machine
				store, err = plugins.Launch(t.Context(), test.spec)
			}
			require.ErrorIs(t, err, test.class)
			require.Nil(t, store)
			for _, says := range test.says {
				require.ErrorContains(t, err, says)
			}
			require.NotContains(t, err.Error(), "\n", "one sentence")
			require.NotRegexp(t, `[[:cntrl:]]`, err.Error())
			require.Less(t, len(err.Error()), 1000)
		})
	}
}

func saysAll(err error, parts []string) bool {
	return err != nil && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(err.Error(), part) })
}

func TestLaunchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := plugins.Launch(ctx, spec("hang"))
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorIs(t, err, context.Canceled)
}

func TestLaunchTellsHowFarItCame(t *testing.T) {
	t.Parallel()
	s := spec("greet")
	s.StartTimeout = 0
	_, err := plugins.Launch(within(t, 3*time.Second), s)
	for limit := 6 * time.Second; !saysAll(err, []string{"welcome"}) && limit < 2*time.Minute; limit *= 2 { // on a busy machine
		_, err = plugins.Launch(within(t, limit), s)
	}
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "welcome")
}

func TestFirstStartMayTakeAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configured, deadline, want time.Duration
	}{
		"Neither":           {0, 0, plugins.DefaultStartTimeout},
		"DeadlineIsLater":   {0, time.Hour, time.Hour},
		"DeadlineIsSooner":  {0, time.Second, time.Second},
		"Configured":        {time.Minute, time.Hour, time.Minute},
		"ConfiguredIsLater": {time.Hour, time.Minute, time.Hour}, // the context ends Launch in any case
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if test.deadline > 0 {
				ctx = within(t, test.deadline)
			}
			got := plugins.FirstStart(ctx, plugins.Spec{StartTimeout: test.configured})
			require.LessOrEqual(t, got, test.want)
			require.Greater(t, got, test.want-time.Minute/2, "but for the time that has passed")
		})
	}
}

func TestLaunchWaitsForASlowStart(t *testing.T) {
	t.Parallel()
	store, _ := launch(t, spec("serve-late"))
	require.NoError(t, commit(t.Context(), store, "a"))
}

// What a plugin prints before it serves ends up in the log, not in the handshake.
func TestOutputBeforeTheHandshake(t *testing.T) {
	t.Parallel()
	store, logs := launch(t, spec("serve-after"))
	require.NoError(t, commit(t.Context(), store, "a"))
	for _, line := range []string{"welcome to the plugin", "1|2", "no line end: "} {
		found := logs.FilterMessage(line).All()
		require.Len(t, found, 1, line)
		require.Equal(t, "stdout", found[0].ContextMap()["stream"])
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	s := spec("serve")
	s.Config = json.RawMessage(`{"secret":"s3cret"}`)
	require.NoError(t, plugins.Validate(t.Context(), s))
	s.Config = json.RawMessage(`{"secrte":"s3cret"}`)
	err := plugins.Validate(t.Context(), s)
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "secrte")
	require.NotContains(t, err.Error(), "s3cret")
	s.Path += "-missing"
	require.ErrorIs(t, plugins.Validate(t.Context(), s), driver.Invalid)
}

// copySelf copies the test binary to where it can be tampered with.
func copySelf(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "plugin")
	require.NoError(t, os.Mkdir(folder, 0o755))
	path := filepath.Join(folder, "understudy-fake")
	// By another process: a file that was open for writing here cannot be executed as
	// long as a process that another test has just started holds it open.
	out, err := exec.CommandContext(t.Context(), "cp", self(), path).CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func TestBinaryOthersCanChange(t *testing.T) {
	t.Parallel()
	path := copySelf(t)
	s := spec("serve")
	s.Path = path
	try := func() error {
		store, err := plugins.Launch(t.Context(), s)
		if err == nil {
			require.NoError(t, store.Close(t.Context()))
		}
		return err
	}
	require.NoError(t, try())

	refused := func(what string) {
		t.Helper()
		err := try()
		require.ErrorIs(t, err, driver.Invalid)
		require.ErrorContains(t, err, what)
		require.ErrorContains(t, err, "can be changed by others")
	}
	require.NoError(t, os.Chmod(path, 0o757))
	refused(path)
	require.NoError(t, os.Chmod(path, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o757))
	refused(filepath.Dir(path))

	// A link does not hide it, nor may others change the link.
	links := filepath.Join(t.TempDir(), "links")
	require.NoError(t, os.Mkdir(links, 0o755))
	s.Path = filepath.Join(links, "plugin")
	require.NoError(t, os.Symlink(path, s.Path))
	refused(filepath.Dir(path))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	require.NoError(t, try())
	require.NoError(t, os.Chmod(links, 0o777))
	refused(links)

	require.NoError(t, os.Chmod(links, 0o755))
	require.NoError(t, os.Chmod(path, 0o644))
	require.ErrorContains(t, try(), "is not executable")
	nonsense := filepath.Join(t.TempDir(), "nonsense")
	require.NoError(t, os.WriteFile(nonsense, []byte("what is this"), 0o600))
	out, err := exec.CommandContext(t.Context(), "cp", nonsense, path).CombinedOutput() // see copySelf
	require.NoError(t, err, string(out))
	require.NoError(t, os.Chmod(path, 0o700))
	err = try()
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, "cannot be executed")
}

// A binary that is being replaced cannot be executed for a moment.
func TestBinaryThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	s := spec("serve")
	s.Path = copySelf(t)
	file, err := os.OpenFile(s.Path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = plugins.Launch(t.Context(), s)
	require.ErrorIs(t, err, driver.Unavailable)
	require.ErrorContains(t, err, "cannot be executed now")
}

func TestChecksum(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(self())
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	good := hex.EncodeToString(sum[:])
	s := spec("serve")
	s.SHA256 = strings.ToUpper(good)
	store, _ := launch(t, s)
	require.Equal(t, plugins.Running, store.Status().State)

	bad := strings.Repeat("0", 64)
	s.SHA256 = bad
	_, err = plugins.Launch(t.Context(), s)
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, good)
	require.ErrorContains(t, err, bad)
}

// A plugin started by hand says what it is.
func TestServeWithoutAHost(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), self(), "serve").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "the fake driver as a plugin (version 1.2.3)")
}

// What an author forgot is told at once, not as a process that panics again and
// again.
func TestServeRefusesAnIncompleteDriver(t *testing.T) {
	t.Parallel()
	err := plugins.Serve(driver.Driver{Name: "some"})
	require.ErrorIs(t, err, driver.Invalid)
	require.ErrorContains(t, err, `driver "some": Open and Validate must be set`)
	require.ErrorContains(t, plugins.Serve(driver.Driver{}), `driver "": want 1–64`)
}
