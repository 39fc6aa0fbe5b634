// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"cmp"
	"encoding/json"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// Config is what a file, the environment and the command line say together, with
// the defaults for what they do not. It holds no secret that printing shows.
type Config struct {
	// Chain is the name of the chain: 1–64 of a–z, 0–9, '-', '_', '.'. All hosts that
	// work on one chain use the same name and the same links. Required.
	Chain string `koanf:"chain"`
	// Host names this instance in leases; no other instance of the chain may have the
	// name. Default: the name of the machine, the process id and a random part.
	Host string `koanf:"host"`
	// Retention is how long finished workflows are kept, and so how long their ids
	// stay taken; longer than a link takes to be brought back. Negative: for ever.
	Retention time.Duration `koanf:"retention" negative:"ok"`
	// AllowWeaker names the links that may be less protected than the first one. The
	// chain refuses others, since a failover would weaken the protection unnoticed.
	AllowWeaker []string `koanf:"allow_weaker"`
	// StartDegraded lets a program start while the stores that hold the epoch do not
	// answer; its calls then wait. It lets it also start without plugins that crash or
	// hang: their links count as down until they work. A plugin that is missing, is
	// another than its checksum says, or refuses its settings is an error all the same.
	// Without start_degraded the program does not start then.
	StartDegraded bool `koanf:"start_degraded"`
	// ReportDir is the folder for reports of what a returning link held that the chain
	// has since decided otherwise. It must exist, and a program that cannot write to it
	// does not start. In a file it is relative to the folder of the file. Default: none,
	// the log alone tells.
	ReportDir string `koanf:"report_dir"`
	// Links are the stores, in the order of preference: 1–16.
	Links []Link `koanf:"links"`
	// Policy says when the chain retries, when it moves on and when it comes back.
	Policy Policy `koanf:"policy"`
	// Log says what is logged, and how.
	Log Log `koanf:"log"`

	settings []Setting
	file     string
	sum      checksum // of the file
}

// Link is one store at its place in the chain. Its Config is JSON, and a secret
// because it may hold one.
type Link struct {
	// Name of the link, formed like that of a chain. It must not change during the
	// life of the data. Required.
	Name string `koanf:"name"`
	// Plugin is the path of the plugin binary that runs the driver in a subprocess.
	// In a file it is relative to the folder of the file. Each link has either a
	// plugin or a driver.
	Plugin string `koanf:"plugin"`
	// Args are the arguments of the plugin; [plugin, redis] if it is the program
	// understudy. Secrets do not belong here.
	Args []string `koanf:"args"`
	// SHA256 is the checksum that the plugin binary must have: 64 hexadecimal digits.
	// Default: any.
	SHA256 string `koanf:"sha256"`
	// Driver is the name of a driver that is linked into the program, in the place of
	// a plugin: for tests, tools and embedded stores.
	Driver string `koanf:"driver"`
	// Config is the driver's own section. The driver checks it.
	Config driver.Secret `koanf:"config"`
}

// Policy says when the chain retries, when it moves on and when it comes back. It
// can change while a program runs; see [Reload].
type Policy struct {
	// Retries after the first failure of the active link, after which the chain fails
	// over. All callers share one count.
	Retries int `koanf:"retries"`
	// Timeout of an incident: the chain fails over at the latest when this much time
	// has passed since the start of the first attempt that failed, everything included.
	Timeout time.Duration `koanf:"timeout"`
	// Attempt is the limit of one call to a store; not above Timeout.
	Attempt time.Duration `koanf:"attempt"`
	// Backoff is the mean pause before the first retry; it doubles with each one, and
	// is spread by ±25 %.
	Backoff time.Duration `koanf:"backoff"`
	// MaxBackoff is where the pause stops growing.
	MaxBackoff time.Duration `koanf:"max_backoff"`
	// MaxWaiting bounds the calls that wait or are under way at once on one host. A
	// call above it fails at once.
	MaxWaiting int `koanf:"max_waiting"`
	// Check is how the links are watched, with traffic and without.
	Check Check `koanf:"check"`
	// Mirror is how long a standby may fail before the chain goes on without it; not
	// above Timeout.
	Mirror time.Duration `koanf:"mirror"`
	// MirrorMode is sync: a call returns when every standby in step has what it did;
	// or async: when the active link has it, and the standbys up to a quarter of a
	// second later, so that a failover may miss what was last acknowledged if the host
	// is lost as well.
	MirrorMode chain.MirrorMode `koanf:"mirror_mode" oneof:"sync async"`
	// Outbox bounds the records that wait for a standby with async. When it is full,
	// calls wait as with sync.
	Outbox int `koanf:"outbox"`
	// MinInSync is how many standbys must be in step for anything to be acknowledged;
	// with fewer, mutations wait. 0 goes on with the active link alone.
	MinInSync int `koanf:"min_in_sync" zero:"ok"`
	// StaleStandby says what becomes of calls when the active link is down and no
	// standby holds everything that was acknowledged: wait; or serve: a standby takes
	// over, and what it misses is reported when the other link returns.
	StaleStandby chain.StaleStandby `koanf:"stale_standby" oneof:"wait serve"`
	// Failback says whether the chain goes back to a link that stands before the
	// active one: auto, after HoldDown; manual: links are brought into step, and an
	// operator switches; off: links that were dropped stay out.
	Failback chain.Failback `koanf:"failback" oneof:"auto manual off"`
	// HoldDown is how long such a link must have been healthy first. It doubles each
	// time the link fails again soon after.
	HoldDown time.Duration `koanf:"hold_down"`
	// MaxHoldDown is where it stops growing.
	MaxHoldDown time.Duration `koanf:"max_hold_down"`
	// Handover is the longest that mutations are held back while a link joins those in
	// step; not above Timeout.
	Handover time.Duration `koanf:"handover"`
	// ResyncRate bounds the records per second that are compared with, and copied to, a
	// link that comes back, in pages of up to 256. What is written meanwhile comes on
	// top. 0: no bound.
	ResyncRate int `koanf:"resync_rate" zero:"ok"`
}

// Check is how the links are watched.
type Check struct {
	// Interval between the status checks of one link. Fall times Interval is not above
	// the timeout.
	Interval time.Duration `koanf:"interval"`
	// Fall is the number of status checks that fail in a row before the chain fails
	// over from an active link without traffic.
	Fall int `koanf:"fall"`
	// Rise is the number of status checks that succeed in a row before a link is
	// brought back.
	Rise int `koanf:"rise"`
	// Slow is the latency budget: a status check that takes longer counts as failed,
	// and so does one of the active store if more than half of the commits since the
	// one before took longer. It should leave room for the largest batches. 0:
	// none.
	Slow time.Duration `koanf:"slow" zero:"ok"`
}

func policyOf(p chain.Policy) Policy {
	return Policy{Retries: p.Retries, Timeout: p.Timeout, Attempt: p.Attempt, Backoff: p.Backoff, MaxBackoff: p.MaxBackoff,
		MaxWaiting: p.MaxWaiting, Check: Check(p.Check), Mirror: p.Mirror, MirrorMode: p.MirrorMode, Outbox: p.Outbox,
		MinInSync: p.MinInSync, StaleStandby: p.StaleStandby, Failback: p.Failback, HoldDown: p.HoldDown, MaxHoldDown: p.MaxHoldDown,
		Handover: p.Handover, ResyncRate: p.ResyncRate}
}

func (p Policy) chainPolicy() chain.Policy {
	return chain.Policy{Retries: p.Retries, Timeout: p.Timeout, Attempt: p.Attempt, Backoff: p.Backoff, MaxBackoff: p.MaxBackoff,
		MaxWaiting: p.MaxWaiting, Check: chain.Check(p.Check), Mirror: p.Mirror, MirrorMode: p.MirrorMode, Outbox: p.Outbox,
		MinInSync: p.MinInSync, StaleStandby: p.StaleStandby, Failback: p.Failback, HoldDown: p.HoldDown, MaxHoldDown: p.MaxHoldDown,
		Handover: p.Handover, ResyncRate: p.ResyncRate}
}

// Log says what is logged, and how. Lines go to standard error.
type Log struct {
	// Level of the least important lines: debug, info, warn or error.
	Level string `koanf:"level" oneof:"debug info warn error"`
	// Format is json, or console for people.
	Format string `koanf:"format" oneof:"json console"`
}

// Default returns the configuration of a file that says nothing. It has no name
// and no links, which only a file can give.
func Default() Config {
	var c Config
	c.fill()
	return c
}

// fill puts the defaults in the place of what is not set. Those of the chain are
// the chain's own.
func (c *Config) fill() {
	full := c.ChainConfig().WithDefaults()
	c.Retention = full.Retention
	c.Policy = policyOf(full.Policy)
	c.Log.Level = cmp.Or(c.Log.Level, "info")
	c.Log.Format = cmp.Or(c.Log.Format, "json")
}

// ChainConfig returns what to open the chain with. It holds the secrets of the
// drivers: do not print it.
func (c *Config) ChainConfig() chain.Config {
	links := make([]chain.Link, len(c.Links))
	for i := range c.Links {
		l := &c.Links[i]
		links[i] = chain.Link{Name: l.Name, Plugin: l.Plugin, Args: l.Args, SHA256: l.SHA256, Driver: l.Driver}
		if !l.Config.IsZero() {
			links[i].Config = json.RawMessage(l.Config.Reveal())
		}
	}
	return chain.Config{Name: c.Chain, Host: c.Host, Links: links, Policy: c.Policy.chainPolicy(),
		AllowWeaker: c.AllowWeaker, Retention: c.Retention, StartDegraded: c.StartDegraded, ReportDir: c.ReportDir}
}

// Logger returns a logger that writes to w. No line is dropped: changes of state
// must not be sampled.
func (l Log) Logger(w io.Writer) *zap.Logger {
	level, err := zapcore.ParseLevel(l.Level)
	if err != nil {
		level = zapcore.InfoLevel // the zero Log; Load lets nothing else pass
	}
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(config)
	if l.Format == "console" {
		encoder = zapcore.NewConsoleEncoder(config)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}
