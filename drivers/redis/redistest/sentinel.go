// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/internal/freeport"
)

// MasterName is the name under which the Sentinels watch the master.
const MasterName = "main"

// Watched is a master with replicas and the Sentinels that watch it.
type Watched struct {
	Servers   []*Server // the first one is the master at the start
	Sentinels []*Sentinel
}

// Sentinel is one Sentinel.
type Sentinel struct {
	Server
}

// StartWatched starts a master with two replicas and three Sentinels, and waits
// until all know each other.
func StartWatched(tb testing.TB, o Options) *Watched {
	tb.Helper()
	certs := NewCertificates(tb)
	w := &Watched{}
	for range 3 {
		s := prepare(tb, certs, o)
		s.Start(tb)
		if len(w.Servers) > 0 {
			s.Do(tb, "REPLICAOF", "127.0.0.1", strconv.Itoa(w.Servers[0].port))
		}
		w.Servers = append(w.Servers, s)
	}
	Eventually(tb, "the replicas are in step", func() error {
		return w.Servers[0].replicasOnline(tb, 2)
	})
	for range 3 {
		w.Sentinels = append(w.Sentinels, startSentinel(tb, certs, o.PlainText, w.Servers[0]))
	}
	for _, s := range w.Sentinels {
		Eventually(tb, "the Sentinels know each other", func() error {
			info := s.Do(tb, "SENTINEL", "MASTER", MasterName)
			if !strings.Contains(info, "num-other-sentinels:2") || !strings.Contains(info, "num-slaves:2") {
				return fmt.Errorf("it knows %s", info)
			}
			_, err := s.TryDo(tb, "SENTINEL", "CKQUORUM", MasterName)
			return err
		})
	}
	return w
}

func (s *Server) replicasOnline(t T, n int) error {
	info := s.Do(t, "INFO", "replication")
	if online := strings.Count(info, "state=online"); online != n {
		return fmt.Errorf("%d of %d replicas are online", online, n)
	}
	return nil
}

func startSentinel(tb testing.TB, certs Certificates, plain bool, master *Server) *Sentinel {
	tb.Helper()
	s := &Sentinel{Server: Server{Dir: tb.TempDir(), certs: certs, plain: plain, port: freeport.Reserve(tb, 1)}}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	writeConfig(tb, s.Dir, append(listening(s.port, certs, plain),
		"dir "+s.Dir,
		"user default off",
		"user "+Admin+" on >"+AdminPassword+" ~* &* +@all",
		"user "+User+" on >"+UserPassword+" resetchannels &* -@all +auth +client|getname +client|id +client|setname +command"+
			" +hello +ping +role +sentinel|get-master-addr-by-name +sentinel|master +sentinel|myid +sentinel|replicas +sentinel|sentinels"+
			" +subscribe +psubscribe +unsubscribe +punsubscribe",
		"sentinel sentinel-user "+Admin,
		"sentinel sentinel-pass "+AdminPassword,
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", MasterName, master.port),
		"sentinel auth-user "+MasterName+" "+Admin,
		"sentinel auth-pass "+MasterName+" "+AdminPassword,
		"sentinel down-after-milliseconds "+MasterName+" 5000",
		"sentinel failover-timeout "+MasterName+" 3000",
	))
	tb.Cleanup(func() {
		if s.client != nil {
			s.client.Close()
		}
		s.process.end(tb, syscall.SIGKILL)
	})
	s.process.start(tb, s.Dir, filepath.Join(s.Dir, "redis.conf"), "--sentinel")
	s.await(tb)
	return s
}

// Master returns the server that the Sentinels take for the master.
func (w *Watched) Master(t T) *Server {
	t.Helper()
	answer := strings.Fields(strings.Trim(w.Sentinels[0].Do(t, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName), "[]"))
	for _, s := range w.Servers {
		if len(answer) == 2 && strconv.Itoa(s.port) == answer[1] {
			return s
		}
	}
	require.FailNow(t, fmt.Sprintf("the Sentinels know no master: %v", answer))
	return nil
}

// Config returns a configuration of the driver for the Sentinels, with changes.
func (w *Watched) Config(t T, changes map[string]any) json.RawMessage {
	t.Helper()
	var addresses []string
	for _, s := range w.Sentinels {
		addresses = append(addresses, s.Addr)
	}
	c := map[string]any{"mode": "sentinel", "addresses": addresses, "master": MasterName,
		"sentinel": map[string]any{"username": User, "password": UserPassword}}
	return w.Servers[0].secure(t, c, changes)
}

// InStep returns nil if s has replicas and all of them have what s has.
func (s *Server) InStep(t T) error {
	t.Helper()
	info := s.Do(t, "INFO", "replication")
	offset := ""
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "master_repl_offset:"); ok {
			offset = v
		}
	}
	online := strings.Count(info, "state=online")
	if online == 0 || strings.Count(info, "offset="+offset+",") != online {
		return fmt.Errorf("replicas are behind: %s", info)
	}
	return nil
}
