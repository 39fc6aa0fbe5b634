// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/understudy-dev/understudy/chain"
)

// Reloadable is what takes a changed policy while it runs, such as a
// *chain.Chain.
type Reloadable interface {
	SetPolicy(chain.Policy) error
}

// reloadInterval is how often the file is read anew. Its folder is not watched
// instead: a configuration that a symbolic link is switched to, as Kubernetes
// does it, gives no sign, nor does a file on many networks.
const reloadInterval = 2 * time.Second

// Reload hands the policy to running whenever the file has changed, until ctx is
// done. running was opened with current, which o has given.
//
// The file is loaded as by [Load], beside what is in force, and as a whole: only a
// configuration without any problem takes effect, within about 4 s, once the file
// has stopped changing. With a problem the former values stay in force, and an
// ERROR line tells all of them, with their places; the file is tried again, as the
// problem may be outside of it, such as a secret that is missing. What changed besides the policy
// takes effect with the next start of the program; a WARN line names the keys. A
// reload that was done is an INFO line with each key that changed.
func Reload(ctx context.Context, o Options, current *Config, running Reloadable, log *zap.Logger) {
	r := reloader{options: o, started: current, current: current, running: running, log: log, path: current.file}
	r.seen, r.loaded = current.sum, current.sum
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.look()
		}
	}
}

type reloader struct {
	options Options
	started *Config // what the program was started with
	current *Config // whose policy is in force
	running Reloadable
	log     *zap.Logger

	path    string
	seen    checksum // of the file as last read
	loaded  checksum // of what was last loaded, with or without success
	failed  error    // of the last read
	refused string   // why what was last loaded is not in force; empty: it is
}

// checksum tells one text of a file from another.
type checksum [sha256.Size]byte

// look reads the file, and loads it if it is not what is in force and has been the
// same twice: it may be half-written.
func (r *reloader) look() {
	sum, err := r.read()
	if err != nil {
		if r.failed == nil {
			r.log.Error("configuration cannot be read: what is in force stays", zap.String("file", r.path), zap.Error(err))
		}
		r.failed = err
		return
	}
	settled := r.failed == nil && sum == r.seen
	r.seen, r.failed = sum, nil
	if settled && (sum != r.loaded || r.refused != "") {
		if sum != r.loaded {
			r.loaded, r.refused = sum, ""
		}
		r.load()
	}
}

func (r *reloader) read() (checksum, error) {
	text, err := os.ReadFile(r.path)
	return sha256.Sum256(text), err
}

func (r *reloader) load() {
	next, err := Load(r.options)
	if err == nil {
		err = r.running.SetPolicy(next.Policy.chainPolicy())
	}
	if err != nil {
		if err.Error() != r.refused {
			r.log.Error("configuration not reloaded: what is in force stays", zap.String("file", r.path), zap.Error(err))
		}
		r.refused = err.Error()
		return
	}
	r.refused = ""
	fields := []zap.Field{zap.String("file", r.path)}
	for _, s := range differing(r.current, next) {
		if strings.HasPrefix(s.Key, "policy.") {
			fields = append(fields, zap.String(s.Key, s.Value))
		}
	}
	r.log.Info("configuration reloaded", fields...)
	r.current = next
	var waiting []string
	for _, s := range differing(r.started, next) {
		if !strings.HasPrefix(s.Key, "policy.") {
			waiting = append(waiting, s.Key)
		}
	}
	if len(waiting) > 0 {
		r.log.Warn("configuration changed where it takes a restart of the program", zap.String("file", r.path), zap.Strings("keys", waiting))
	}
}

// differing returns the settings of b that are not those of a, and what b has no
// longer. Secrets count, and are not shown.
func differing(a, b *Config) []Setting {
	var all []Setting
	find := func(list []Setting, key string) *Setting {
		i := slices.IndexFunc(list, func(s Setting) bool { return s.Key == key })
		if i < 0 {
			return nil
		}
		return &list[i]
	}
	for _, s := range b.settings {
		if was := find(a.settings, s.Key); was == nil || was.Value != s.Value {
			all = append(all, s)
		}
	}
	for _, s := range a.settings {
		if find(b.settings, s.Key) == nil {
			all = append(all, Setting{Key: s.Key, Value: "unset"})
		}
	}
	for i := range min(len(a.Links), len(b.Links)) {
		was, is := &a.Links[i], &b.Links[i]
		prefix := shown(join("links", is.Name, "config"))
		told := slices.ContainsFunc(all, func(s Setting) bool { return strings.HasPrefix(s.Key, prefix) })
		if was.Name == is.Name && !told && was.Config.Reveal() != is.Config.Reveal() {
			all = append(all, Setting{Key: prefix, Value: redacted})
		}
	}
	if order := names(a); len(a.Links) == len(b.Links) && !slices.Equal(order, names(b)) {
		all = append(all, Setting{Key: "links", Value: plain(names(b))})
	}
	return all
}

func names(c *Config) []string {
	all := make([]string, len(c.Links))
	for i := range c.Links {
		all[i] = c.Links[i].Name
	}
	return all
}
