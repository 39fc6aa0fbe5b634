// SPDX-License-Identifier: Apache-2.0

package devserver_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// output is a writer that may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func TestMainServesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	require.NoError(t, os.WriteFile(users, []byte("# who may log in\nann:s3cret:word:$admins,readers\nroot:s3cret:$admins\r\n"), 0o600))
	ca := filepath.Join(dir, "ca.pem")
	ctx, stop := context.WithCancel(t.Context())
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() {
		ended <- devserver.Main(ctx, []string{"-listen", "127.0.0.1:0", "-data", filepath.Join(dir, "data"), "-tls", "-tls-ca-out", ca, "-users", users}, &stdout, &stderr)
	}()
	require.Eventually(t, func() bool { return strings.Contains(stdout.String(), "\n") }, waiting, 5*time.Millisecond, stderr.String())
	target := strings.TrimSpace(strings.TrimPrefix(stdout.String(), "esdb://"))
	client := connect(t, "esdb://root:s3cret@"+target+"&tlsCAFile="+ca)
	_, err := client.AppendToStream(t.Context(), "$s", esdb.AppendToStreamOptions{}, event(uuid.New()))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	stop()
	require.Equal(t, 0, <-ended)
	require.Contains(t, stderr.String(), "not for production")
	require.NotContains(t, stderr.String()+stdout.String(), "s3cret")
}

func TestMainRefusesBadCommandLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{name: "UnknownFlag", args: []string{"-nonsense"}, want: "nonsense"},
		{name: "Argument", args: []string{"more"}, want: `unexpected argument "more"`},
		{name: "Listen", args: []string{"-listen", "nowhere"}, want: "host:port is expected"},
		{name: "Nodes", args: []string{"-nodes", "2"}, want: "1 or 3 is expected"},
		{name: "KeyMissing", args: []string{"-tls", "-tls-cert", "a.pem"}, want: "key"},
		{name: "CertificateWithoutTLS", args: []string{"-tls-cert", "a.pem", "-tls-key", "a.key"}, want: "TLS is off"},
		{name: "NoCertificate", args: []string{"-listen", "127.0.0.1:0", "-tls", "-tls-cert", "no.pem", "-tls-key", "no.key"}, want: "no.pem"},
		{name: "CAWithoutTLS", args: []string{"-tls-ca-out", "ca.pem"}, want: "-tls"},
		{name: "ClientCAWithoutTLS", args: []string{"-tls-client-ca", "ca.pem"}, want: "TLS is off"},
		{name: "NoClientCA", args: []string{"-listen", "127.0.0.1:0", "-tls", "-tls-client-ca", "no.pem"}, want: "no.pem"},
		{name: "EmptyClientCA", args: []string{"-listen", "127.0.0.1:0", "-tls", "-tls-client-ca", file("ca.pem", "nothing")}, want: "holds no certificate"},
		{name: "Fault", args: []string{"-fault-commit-timeout", "sometimes"}, want: `"sometimes"`},
		{name: "Time", args: []string{"-write-timeout", "-1s"}, want: "write timeout"},
		{name: "NoUsers", args: []string{"-users", filepath.Join(dir, "missing")}, want: "missing"},
		{name: "EmptyUsers", args: []string{"-users", file("empty", "\n# nobody\n")}, want: "names nobody"},
		{name: "BadUsers", args: []string{"-users", file("bad", "ann:pw\nhidden\n")}, want: "line 2"},
		{name: "DataIsAFile", args: []string{"-listen", "127.0.0.1:0", "-data", file("plain", "")}, want: "data directory"},
		{name: "BrokenData", args: []string{"-listen", "127.0.0.1:0", "-data", filepath.Dir(file("events.bolt", strings.Repeat("nonsense", 4096)))}, want: "events.bolt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr output
			ctx, stop := context.WithTimeout(t.Context(), waiting)
			defer stop()
			require.Equal(t, 2, devserver.Main(ctx, test.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), test.want)
			require.NotContains(t, stderr.String(), "hidden", "an error does not quote the file of users")
			require.Empty(t, stdout.String())
		})
	}
}

func TestMainHelpSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	var stdout, stderr output
	require.Equal(t, 0, devserver.Main(t.Context(), []string{"-h"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "for development and tests, not for production")
	page, err := os.ReadFile("../../../docs/eventstore-dev-server.md")
	require.NoError(t, err)
	require.Contains(t, string(page), "for development and tests, not for production")
}
