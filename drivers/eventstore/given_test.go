// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	contracttest "github.com/understudy-dev/understudy/contract_test"
	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
)

// The tests whose names begin with TestContract run on the server that the
// environment names, such as a real EventStoreDB: UNDERSTUDY_EVENTSTORE_URL is its
// connection string, UNDERSTUDY_EVENTSTORE_CA the file of what signed its
// certificate, and UNDERSTUDY_EVENTSTORE_INSECURE=true allows plain text over a
// network. Without these they start development servers.

// givenParallel is how many cases run at once on such a server, which is one for
// all of them and waits for its disk.
const givenParallel = "4"

func given() bool { return os.Getenv("UNDERSTUDY_EVENTSTORE_URL") != "" }

func givenURL() string {
	address := os.Getenv("UNDERSTUDY_EVENTSTORE_URL")
	if ca := os.Getenv("UNDERSTUDY_EVENTSTORE_CA"); ca != "" {
		separator := "?"
		if strings.Contains(address, "?") {
			separator = "&"
		}
		address += separator + "tlsCAFile=" + url.QueryEscape(ca)
	}
	return address
}

func settingsOfGiven() settings {
	s := settings{"connection_string": givenURL()}
	if os.Getenv("UNDERSTUDY_EVENTSTORE_INSECURE") == "true" {
		s["insecure"] = true
	}
	return s
}

// caseTimeout is how long a case may take.
func caseTimeout() time.Duration {
	if given() {
		return 2 * time.Minute
	}
	return time.Minute
}

// uniqueChain returns a chain that has never been, and removes its stream from the
// given server at the end.
func uniqueChain(t testing.TB) string {
	t.Helper()
	chain := "t-" + driver.NewToken().String()
	if given() {
		o := newOperator(t, givenURL())
		t.Cleanup(func() { o.remove(chain) })
	}
	return chain
}

// removing lets the streams of the cases be removed from the given server when the
// case ends.
func removing(t testing.TB, open func(contracttest.T, string) (driver.Store, error)) func(contracttest.T, string) (driver.Store, error) {
	t.Helper()
	if !given() {
		return open
	}
	o := newOperator(t, givenURL())
	var opened sync.Map
	return func(ct contracttest.T, chain string) (driver.Store, error) {
		if _, again := opened.LoadOrStore(chain, true); !again {
			ct.Cleanup(func() { o.remove(chain) })
		}
		return open(ct, chain)
	}
}

// remove deletes the journal stream of a chain. The server frees its room with the
// next scavenge.
func (o operator) remove(chain string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.t.Context()), patience)
	defer cancel()
	stream := eventstore.DefaultConfig().StreamPrefix + chain
	if _, err := o.client.DeleteStream(ctx, stream, esdb.DeleteStreamOptions{}); err != nil {
		o.t.Errorf("the stream %s stays on the server: %v", stream, err)
	}
}

func TestGivenServer(t *testing.T) {
	for name, c := range map[string]struct{ url, ca, want string }{
		"plain":         {"esdb://localhost:2113?tls=false", "", "esdb://localhost:2113?tls=false"},
		"with CA":       {"esdb://u:p@es-1:2113", "/ca files/a&b.pem", "esdb://u:p@es-1:2113?tlsCAFile=%2Fca+files%2Fa%26b.pem"},
		"CA and others": {"esdb://es-1,es-2?tls=true", "ca.pem", "esdb://es-1,es-2?tls=true&tlsCAFile=ca.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("UNDERSTUDY_EVENTSTORE_URL", c.url)
			t.Setenv("UNDERSTUDY_EVENTSTORE_CA", c.ca)
			require.Equal(t, c.want, givenURL())
			config, err := eventstore.ParseConfig(settings{"connection_string": givenURL()}.json(t))
			require.NoError(t, err)
			if c.ca != "" {
				require.Equal(t, c.ca, config.TLS.CA)
			}
			require.Equal(t, c.want, settingsOfGiven()["connection_string"])
		})
	}
}
