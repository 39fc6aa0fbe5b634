// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const mainUsage = `Runs a server that speaks the gRPC protocol of EventStoreDB ` + Version + `, until it is interrupted.
It is for development and tests, not for production.

Flags:
`

// mainFlags are the command line of Main.
type mainFlags struct {
	options   Options
	usersFile string
	caFile    string
	timeout   string
}

func (f *mainFlags) flagSet(stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("eventstore", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = io.WriteString(stderr, mainUsage)
		fs.PrintDefaults()
	}
	o := &f.options
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:2113", "`host:port` of the first node; port 0 takes a free one")
	fs.StringVar(&o.Data, "data", "", "`directory` of the data; empty: a temporary one that is removed at the end")
	fs.IntVar(&o.Nodes, "nodes", 1, "1, or 3 for a cluster of one leader and two followers")
	fs.BoolVar(&o.TLS, "tls", false, "speak TLS, ask for credentials and obey access rules")
	fs.StringVar(&o.CertFile, "tls-cert", "", "PEM `file` of the certificate; empty: one is made for the local names")
	fs.StringVar(&o.KeyFile, "tls-key", "", "PEM `file` of the key of the certificate")
	fs.StringVar(&o.ClientCAFile, "tls-client-ca", "", "PEM `file` of the authorities whose certificates clients must show; empty: clients need none")
	fs.StringVar(&f.caFile, "tls-ca-out", "", "`file` to write what clients must trust to, in PEM")
	fs.StringVar(&f.usersFile, "users", "", "`file` of users, a line each: name:password or name:password:group,group; empty: admin and ops with the password changeit")
	fs.IntVar(&o.RecentIDs, "recent-ids", DefaultRecentIDs, "`number` of event ids remembered for repeats under Any")
	fs.DurationVar(&o.ElectionTime, "election-time", DefaultElectionTime, "`time` that a cluster takes to replace its leader")
	fs.DurationVar(&o.WriteTimeout, "write-timeout", DefaultWriteTimeout, "`time` after which a write is answered with a time-out")
	fs.DurationVar(&o.Faults.NotReady, "fault-not-ready", 0, "answer Server Is Not Ready for this `time` after the start")
	fs.StringVar(&o.Faults.NotLeader, "fault-not-leader", "", "answer writes with: not the leader, that is `host:port`")
	fs.StringVar(&f.timeout, "fault-commit-timeout", "", "end writes in a commit time-out that were `lost` or written")
	fs.IntVar(&o.Faults.Every, "fault-every", 1, "of the commit time-outs, show only each `n`-th")
	return fs
}

// Main is the command: it runs a server as the flags say until ctx ends. It prints the connection string to stdout
// and its log to stderr as JSON. It returns the exit code: 0, or 2 after a bad command line or a failed start.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var f mainFlags
	fs := f.flagSet(stderr)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		return complain(stderr, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	if f.caFile != "" && !f.options.TLS {
		return complain(stderr, errors.New("-tls-ca-out needs -tls: without TLS there is nothing to trust"))
	}
	f.options.Faults.CommitTimeout = CommitTimeout(f.timeout)
	if f.usersFile != "" {
		users, err := readUsers(f.usersFile)
		if err != nil {
			return complain(stderr, err)
		}
		f.options.Users = users
	}
	f.options.Logger = newLogger(stderr)
	if err := serve(ctx, &f, stdout); err != nil {
		return complain(stderr, err)
	}
	return 0
}

func complain(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "eventstore development server:", err)
	return 2
}

func serve(ctx context.Context, f *mainFlags, stdout io.Writer) error {
	server, err := Start(f.options)
	if err != nil {
		return err
	}
	if f.caFile != "" {
		if err := os.WriteFile(f.caFile, server.CA(), 0o644); err != nil {
			return errors.Join(fmt.Errorf("write what clients must trust: %w", err), server.Close())
		}
	}
	fmt.Fprintln(stdout, server.URL())
	<-ctx.Done()
	return server.Close()
}

func newLogger(stderr io.Writer) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(stderr), zapcore.InfoLevel))
}

// readUsers reads a file of users. Errors name the line, never what it says.
func readUsers(path string) ([]User, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	var users []User
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, ":", 3)
		if len(fields) < 2 || fields[0] == "" {
			return nil, fmt.Errorf("users: %s line %d: name:password or name:password:group,group is expected", path, i+1)
		}
		u := User{Name: fields[0], Password: fields[1]}
		if len(fields) == 3 {
			u.Groups = strings.Split(fields[2], ",")
		}
		users = append(users, u)
	}
	if len(users) == 0 {
		return nil, fmt.Errorf("users: %s names nobody", path)
	}
	return users, nil
}
