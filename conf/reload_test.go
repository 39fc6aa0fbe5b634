// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/conf"
	"github.com/understudy-dev/understudy/driver"
	_ "github.com/understudy-dev/understudy/drivers/all"
)

// running takes policies, unless it refuses.
type running struct {
	mu     sync.Mutex
	taken  []chain.Policy
	refuse error
}

func (r *running) SetPolicy(p chain.Policy) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil {
		r.taken = append(r.taken, p)
	}
	return r.refuse
}

// reloading is a file under Reload, on the clock of a bubble.
type reloading struct {
	path string
	into running
	logs *observer.ObservedLogs
}

// reload runs Reload on a file of the text, until the test ends.
func reload(t *testing.T, text string, environ ...string) *reloading {
	t.Helper()
	r := &reloading{path: write(t, text)}
	r.follow(t, environ...)
	return r
}

func (r *reloading) follow(t *testing.T, environ ...string) {
	t.Helper()
	o := conf.Options{File: r.path, Environ: append([]string{}, environ...)}
	c, err := conf.Load(o)
	require.NoError(t, err)
	var core, logs = observer.New(zap.DebugLevel)
	r.logs = logs
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		conf.Reload(ctx, o, c, &r.into, zap.New(core))
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (r *reloading) rewrite(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(r.path, []byte(text), 0o600))
	wait()
}

// wait lets the file be looked at often enough.
func wait() {
	time.Sleep(10 * time.Second) //nolint:forbidigo // the clock of a bubble
	synctest.Wait()
}

// lines are the messages with their levels, in order.
func (r *reloading) lines() []string {
	var lines []string
	for _, e := range r.logs.TakeAll() {
		lines = append(lines, fmt.Sprint(e.Level, ": ", e.Message))
	}
	return lines
}

func TestReloadTakesAChangedPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reload(t, small+"policy: {timeout: 20s, retries: 4}\n", "UNDERSTUDY_POLICY__RETRIES=6")
		wait()
		require.Empty(t, r.into.taken, "nothing has changed")
		r.rewrite(t, small+"policy: {timeout: 30s, check: {fall: 5}}\n")
		require.Len(t, r.into.taken, 1)
		p := r.into.taken[0]
		require.Equal(t, 30*time.Second, p.Timeout)
		require.Equal(t, 5, p.Check.Fall)
		require.Equal(t, 6, p.Retries, "the environment stays over the file")
		require.Equal(t, map[string]any{"file": r.path, "policy.timeout": "30s", "policy.check.fall": "5"}, r.logs.All()[0].ContextMap())
		require.Equal(t, []string{"info: configuration reloaded"}, r.lines())

		r.rewrite(t, small)
		require.Equal(t, 10*time.Second, r.into.taken[1].Timeout, "a key that is gone has its default again")
	})
}

func TestReloadKeepsWhatIsInForce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reload(t, small)
		r.rewrite(t, small+"policy:\n  timeout: 30s\n  attempt: 40s\n  retrys: 2\n")
		require.Empty(t, r.into.taken, "not even the timeout, which is right")
		require.Equal(t, 1, r.logs.Len(), "told once")
		problem := r.logs.All()[0].ContextMap()["error"]
		require.Contains(t, problem, "c.yaml:10: policy.attempt: is 40s: one attempt would be longer than policy.timeout, 30s")
		require.Contains(t, problem, "c.yaml:11: policy.retrys: unknown key")
		require.Equal(t, []string{"error: configuration not reloaded: what is in force stays"}, r.lines())

		r.rewrite(t, "chain: [")
		require.Equal(t, []string{"error: configuration not reloaded: what is in force stays"}, r.lines())
		require.NoError(t, os.Remove(r.path))
		wait()
		require.Equal(t, []string{"error: configuration cannot be read: what is in force stays"}, r.lines())
		require.Empty(t, r.into.taken)
		r.rewrite(t, small+"policy: {timeout: 30s}")
		require.Len(t, r.into.taken, 1, "and a good one is taken again")
	})
}

// The problem may be outside of the file: it need not be touched again.
func TestReloadTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reload(t, small)
		secret := filepath.Join(filepath.Dir(r.path), "secret")
		r.rewrite(t, strings.Replace(small, "database: 3", "database: 3, password: {file: secret}", 1)+"policy: {retries: 5}\n")
		wait()
		require.Contains(t, r.logs.All()[0].ContextMap()["error"], "links.redis.config.password: {file: secret}: ")
		require.Equal(t, []string{"error: configuration not reloaded: what is in force stays"}, r.lines(), "told once")
		require.NoError(t, os.WriteFile(secret, []byte("\n"), 0o600))
		wait()
		require.Equal(t, []string{"error: configuration not reloaded: what is in force stays"}, r.lines(), "it is another problem")
		require.NoError(t, os.WriteFile(secret, []byte(hidden), 0o600))
		wait()
		require.Len(t, r.into.taken, 1)
		require.Equal(t, 5, r.into.taken[0].Retries)
		require.Equal(t, []string{"info: configuration reloaded", "warn: configuration changed where it takes a restart of the program"}, r.lines())
		wait()
		require.Empty(t, r.lines())
	})
}

func TestReloadWaitsUntilTheFileIsWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reload(t, small)
		for n := range 10 {
			require.NoError(t, os.WriteFile(r.path, fmt.Appendf(nil, "%s\npolicy: {timeout: %ds, retries", small, n), 0o600))
			time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
		}
		require.Empty(t, r.lines())
		r.rewrite(t, small+"policy: {timeout: 30s}")
		require.Equal(t, []string{"info: configuration reloaded"}, r.lines())
	})
}

// Kubernetes mounts a configuration behind two symbolic links and switches the
// inner one.
func TestReloadFollowsASymbolicLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		version := func(name, text string) {
			require.NoError(t, os.Mkdir(filepath.Join(folder, name), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(folder, name, "c.yaml"), []byte(text), 0o600))
			require.NoError(t, os.Symlink(name, filepath.Join(folder, "new")))
			require.NoError(t, os.Rename(filepath.Join(folder, "new"), filepath.Join(folder, "..data")))
		}
		version("v1", small)
		require.NoError(t, os.Symlink(filepath.Join("..data", "c.yaml"), filepath.Join(folder, "c.yaml")))
		r := &reloading{path: filepath.Join(folder, "c.yaml")}
		r.follow(t)
		version("v2", small+"policy: {retries: 9}")
		require.NoError(t, os.RemoveAll(filepath.Join(folder, "v1")))
		wait()
		require.Len(t, r.into.taken, 1)
		require.Equal(t, 9, r.into.taken[0].Retries)
	})
}

func TestReloadTellsWhatTakesARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const text = `chain: calls
links:
- {name: a, driver: memory, config: {password: one}}
- {name: b, driver: memory, config: {x: {file: secret}}}
`
		path := write(t, text)
		secret := filepath.Join(filepath.Dir(path), "secret")
		require.NoError(t, os.WriteFile(secret, []byte(hidden), 0o600))
		r := &reloading{path: path}
		r.follow(t)
		keys := func() any {
			all := r.logs.FilterMessageSnippet("takes a restart").All()
			r.logs.TakeAll()
			require.Len(t, all, 1)
			require.Equal(t, zap.WarnLevel, all[0].Level)
			for _, value := range all[0].ContextMap() {
				require.NotContains(t, fmt.Sprint(value), hidden)
			}
			return all[0].ContextMap()["keys"]
		}
		r.rewrite(t, text+"log: {level: debug}\npolicy: {retries: 5}\nhost: h\n")
		require.Equal(t, []any{"host", "log.level"}, keys())
		require.Equal(t, 5, r.into.taken[0].Retries, "the policy is taken all the same")

		require.NoError(t, os.WriteFile(secret, []byte(hidden+"2"), 0o600))
		r.rewrite(t, text+"policy: {retries: 5}\n")
		require.Equal(t, []any{"links.b.config"}, keys())
		r.rewrite(t, "chain: calls\nlinks:\n- {name: b, driver: memory}\n- {name: a, driver: memory, config: {password: one}}\n")
		require.Equal(t, []any{"links.b.config.x", "links"}, keys())
	})
}

func TestReloadIsRefusedByTheChain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := reload(t, small)
		r.into.refuse = driver.Invalid
		r.rewrite(t, small+"policy: {retries: 5}\n")
		require.Equal(t, []string{"error: configuration not reloaded: what is in force stays"}, r.lines())
	})
}

// A whole program in small: the policy of an open chain follows its file.
func TestReloadOfAChain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := write(t, "chain: calls\nlinks:\n- {name: a, driver: memory}\n- {name: b, driver: memory}\n")
		o := conf.Options{File: path, Environ: []string{}}
		config, err := conf.Load(o)
		require.NoError(t, err)
		c, err := chain.Open(t.Context(), config.ChainConfig())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var reloads sync.WaitGroup
		reloads.Go(func() { conf.Reload(ctx, o, config, c, zap.NewNop()) })
		require.NoError(t, os.WriteFile(path, []byte("chain: calls\nlinks:\n- {name: a, driver: memory}\n- {name: b, driver: memory}\npolicy: {retries: 8}\n"), 0o600))
		wait()
		require.Equal(t, 8, c.Policy().Retries)
		cancel()
		reloads.Wait()
		require.NoError(t, c.Close(t.Context()))
	})
}
