package redis_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/understudy-dev/understudy/drivers/redis/redistest"
)

func TestZZ(t *testing.T) {
	b := &testing.B{}
	_ = b
	server := redistest.Start(t, redistest.Options{PlainText: true})
	s := open(t, "direct", server.Config(t, nil))
	client, _ := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, ForceSingleClient: true, DisableCache: true,
		AlwaysPipelining: true, Username: redistest.Admin, Password: redistest.AdminPassword})
	defer client.Close()
	testing.Benchmark(func(b *testing.B) {
		if b.N > 1 {
			return
		}
		for range 3 {
			reqs := batches(b, 800)
			args := bareArgs(reqs)
			server.Do(t, "FLUSHALL")
			server.Do(t, "CONFIG", "RESETSTAT")
			d := inFlight(800, func(i int) { bare.Exec(b.Context(), client, bareKeys, args[i-1]).Error() })
			show(t, server, "bare", d)
			server.Do(t, "CONFIG", "RESETSTAT")
			d = inFlight(800, func(i int) { s.Commit(b.Context(), reqs[i-1]) })
			show(t, server, "direct", d)
		}
	})
}

func show(t *testing.T, server *redistest.Server, n string, d time.Duration) {
	for line := range strings.Lines(server.Do(t, "INFO", "commandstats")) {
		if strings.Contains(line, "usec_per_call") {
			t.Log(n, d, strings.TrimSpace(line))
		}
	}
}
