// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/understudy-dev/understudy/chain"
	"github.com/understudy-dev/understudy/driver"
)

// kind is that of the workflows that hosts start and work on.
const kind = "call"

// hostConfig is the first line that a host process reads.
type hostConfig struct {
	Chain   chain.Config
	Journal string
	Log     string
	Rate    int           // workflows that it starts in a second
	Steps   int           // save points of each workflow
	Pace    time.Duration // mean time between two of them
	Workers int
	Lease   time.Duration
	Seed    uint64
}

// What a host is told by lines of its input, the end of which makes it end.
const (
	quietCommand  = "quiet"   // start nothing more
	switchCommand = "switch " // make the link that follows the active one
)

// maxStarting is how many starts may wait at once in a host.
const maxStarting = 512

type host struct {
	config  hostConfig
	chain   atomic.Pointer[chain.Chain]
	journal *journal
}

// hostMain is a host process: it starts workflows and works on them until its
// input ends.
func hostMain(stdin io.Reader, stderr io.Writer) int {
	if err := runHost(stdin); err != nil {
		fmt.Fprintln(stderr, "host:", err)
		return 1
	}
	return 0
}

func runHost(stdin io.Reader) (err error) {
	lines := bufio.NewReader(stdin)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	h := &host{}
	if err := json.Unmarshal(first, &h.config); err != nil {
		return err
	}
	if h.journal, err = openJournal(h.config.Journal); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.journal.close()) }()
	log, err := os.OpenFile(h.config.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	starting, stopStarting := context.WithCancel(ctx)
	defer stopStarting()
	go func() {
		defer end()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSuffix(line, "\n")
			if link, ok := strings.CutPrefix(line, switchCommand); ok {
				h.switchTo(ctx, link)
			}
			if line == quietCommand {
				stopStarting()
			}
		}
	}()
	return h.run(ctx, starting, log)
}

func (h *host) run(ctx, starting context.Context, log *os.File) error {
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime, encoder.EncodeDuration = zapcore.RFC3339NanoTimeEncoder, zapcore.StringDurationEncoder
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), log, zap.InfoLevel))
	var c *chain.Chain
	var err error
	for { // a host that is started in the middle of a fault tries again, as its supervisor would make it
		c, err = chain.Open(ctx, h.config.Chain, chain.WithLogger(logger), chain.WithEvents(h.event))
		if err == nil {
			break
		}
		logger.Warn("cannot open the chain", zap.Error(err))
		if ctx.Err() != nil || driver.ClassOf(err) == driver.Invalid {
			return err
		}
	}
	h.chain.Store(c)
	worked := make(chan error, 1)
	go func() {
		worked <- c.Work(ctx, kind, h.handle, chain.WorkOptions{Concurrency: h.config.Workers, Lease: h.config.Lease, Drain: 2 * time.Second,
			Retry: chain.RetryPolicy{MaxAttempts: -1, Backoff: 50 * time.Millisecond, MaxBackoff: time.Second}})
	}()
	h.startAll(ctx, starting)
	err = <-worked
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, c.Close(closing))
}

// switchTo makes a link the active one.
func (h *host) switchTo(ctx context.Context, link string) {
	c := h.chain.Load()
	if c == nil {
		h.journal.add(entry{Tell: refused, Text: "switch: the chain is not open"})
		return
	}
	if err := c.SwitchTo(ctx, link); err != nil {
		h.journal.add(entry{Tell: refused, Text: err.Error()})
	}
}

// startAll starts workflows at a steady rate until starting is done, and returns
// when all of them are answered.
func (h *host) startAll(ctx, starting context.Context) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxStarting)
	tick := time.NewTicker(time.Second / time.Duration(h.config.Rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-starting.Done():
			wg.Wait()
			h.journal.add(entry{Tell: quiet})
			return
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			h.start(ctx, fmt.Sprintf("%s-%06d", h.config.Chain.Host, n))
		})
	}
}

// start starts one workflow. It waits for as long as it takes: callers see a pause,
// not an error.
func (h *host) start(ctx context.Context, id string) {
	h.journal.add(entry{Tell: meant, ID: id})
	began := time.Now()
	r, err := h.chain.Load().Start(ctx, chain.Workflow{ID: id, Kind: kind, Input: []byte(id)})
	switch {
	case err == nil:
		e := about(started, &r, "")
		e.Waited = time.Since(began)
		h.journal.add(e)
	case ctx.Err() == nil:
		h.journal.add(entry{Tell: refused, ID: id, Waited: time.Since(began), Text: err.Error()})
	}
}

// handle works on a workflow from its last save point on.
func (h *host) handle(ctx context.Context, w *chain.Handle) ([]byte, error) {
	r := w.Record()
	lease := r.Lease.Token.String()
	h.journal.add(about(claimed, &r, lease))
	// The context is done when the end was acknowledged, or will not be.
	context.AfterFunc(ctx, func() {
		if last := w.Record(); last.Status == driver.Succeeded {
			h.journal.add(about(ended, &last, lease))
		}
	})
	pace := rand.New(rand.NewPCG(h.config.Seed, r.Revision))
	for n := stepNumber(r.Step) + 1; n <= h.config.Steps; n++ {
		timer := time.NewTimer(time.Duration(pace.Int64N(int64(2 * h.config.Pace))))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			h.journal.add(entry{Tell: leftOff, ID: r.ID, Lease: lease, Step: n, Text: context.Cause(ctx).Error()})
			return nil, ctx.Err()
		}
		began := time.Now()
		err := w.Save(ctx, strconv.Itoa(n), []byte(r.ID+" at "+strconv.Itoa(n)))
		switch {
		case err == nil:
			record := w.Record()
			e := about(saved, &record, lease)
			e.Step, e.Waited = n, time.Since(began)
			h.journal.add(e)
			continue
		case ctx.Err() != nil, driver.ClassOf(err) == driver.LeaseLost:
			h.journal.add(entry{Tell: leftOff, ID: r.ID, Lease: lease, Step: n, Text: err.Error()})
		default:
			h.journal.add(entry{Tell: refused, ID: r.ID, Lease: lease, Step: n, Waited: time.Since(began), Text: err.Error()})
		}
		return nil, err
	}
	return []byte(output(r.ID)), nil
}

func output(id string) string { return "out of " + id }

// stepNumber is the number of a save point; 0 before the first.
func stepNumber(step string) int {
	n, err := strconv.Atoi(step)
	if err != nil {
		return 0
	}
	return n
}

// event notes an event of any type, with what all types have by name.
func (h *host) event(event chain.Event) {
	v := reflect.Indirect(reflect.ValueOf(event))
	e := entry{Tell: happened, Event: v.Type().Name()}
	if epoch, ok := field[driver.Epoch](v, "Epoch"); ok {
		e.Epoch, e.To = epoch.Number, epoch.Active
		e.Text = fmt.Sprintf("%s in sync %v", epoch, epoch.InSync)
	}
	if link, ok := field[string](v, "Link"); ok {
		e.Text += " link " + link
	}
	for _, name := range []string{"Elapsed", "Pause"} {
		if took, ok := field[time.Duration](v, name); ok {
			e.Waited = took
		}
	}
	if cause, ok := field[error](v, "Cause"); ok && cause != nil {
		e.Text += ": " + cause.Error()
	}
	h.journal.add(e)
}

func field[T any](v reflect.Value, name string) (T, bool) {
	f := v.FieldByName(name)
	if !f.IsValid() {
		var none T
		return none, false
	}
	return reflect.TypeAssert[T](f)
}
