// SPDX-License-Identifier: Apache-2.0

package devserver

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Defaults of Options.
const (
	DefaultListen       = "127.0.0.1:0"
	DefaultRecentIDs    = 1 << 17
	DefaultElectionTime = time.Second
	DefaultWriteTimeout = 2 * time.Second
)

// MaxAppendSize is the largest sum of the data of one append's events, in bytes.
const MaxAppendSize = 1 << 20

// maxMessageSize is the largest message that the server takes, in bytes.
const maxMessageSize = 16 << 20

// Options say how a server runs. The zero value is a single insecure node on a free port of 127.0.0.1 whose data are
// thrown away when it is closed.
type Options struct {
	// Listen is the host:port of the first node; port 0 takes a free one. Further nodes take the ports after it, or
	// free ones. Default: DefaultListen.
	Listen string

	// Data is the directory of the data file; it is made if it is missing. Empty: a temporary directory that Close
	// removes.
	Data string

	// Nodes is the number of nodes: 0 and 1 stand for a single one, 3 for a cluster of one leader and two followers.
	Nodes int

	// TLS makes the server speak TLS, ask for credentials and obey access rules. Without it the server is insecure:
	// everything is allowed and credentials are ignored.
	TLS bool

	// CertFile and KeyFile are the PEM files of the server's certificate. Both empty: the server makes itself a
	// certificate for localhost, 127.0.0.1, ::1 and the host of Listen; CA returns what clients must trust.
	CertFile, KeyFile string

	// ClientCAFile is a PEM file of authorities. With it every client must show a certificate that one of them has
	// signed; credentials are asked for all the same.
	ClientCAFile string

	// Users may log in when TLS is on. Empty: DefaultUsers.
	Users []User

	// RecentIDs is how many event ids the server remembers for repeats under Any and StreamExists; older ones, and
	// all of them after a restart, are not recognised. Default: DefaultRecentIDs.
	RecentIDs int

	// ElectionTime is how long a cluster takes to replace a leader that stopped, and to notice that it has lost its
	// majority. Default: DefaultElectionTime.
	ElectionTime time.Duration

	// WriteTimeout is how long the server waits before it answers a write with a time-out, and the longest time that
	// a BatchAppend write may take to become complete. Default: DefaultWriteTimeout.
	WriteTimeout time.Duration

	// Faults are in force from the start; SetFaults changes them. The zero value has none.
	Faults Faults

	// Logger gets the server's log. Nil: no log.
	Logger *zap.Logger
}

// User may log in to a server that speaks TLS.
type User struct {
	Name     string
	Password string
	Groups   []string // GroupAdmins may do everything
}

// Groups with a meaning of their own.
const (
	GroupAdmins = "$admins"
	GroupOps    = "$ops"
)

// DefaultUsers are those that an EventStoreDB starts with: admin and ops, with the password changeit.
func DefaultUsers() []User {
	return []User{
		{Name: "admin", Password: "changeit", Groups: []string{GroupAdmins}},
		{Name: "ops", Password: "changeit", Groups: []string{GroupOps}},
	}
}

// withDefaults checks the options and fills in what is not set. The error names every bad field.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		bad("listen %q: host:port is expected, for example 127.0.0.1:2113: %w", o.Listen, err)
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.Nodes != 1 && o.Nodes != 3 {
		bad("nodes %d: 1 or 3 is expected", o.Nodes)
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		bad("a certificate needs both its own file and that of its key")
	}
	if o.CertFile != "" && !o.TLS {
		bad("a certificate was given, but TLS is off")
	}
	if o.ClientCAFile != "" && !o.TLS {
		bad("certificates of clients were asked for, but TLS is off")
	}
	if len(o.Users) == 0 {
		o.Users = DefaultUsers()
	}
	for _, u := range o.Users {
		if u.Name == "" || strings.Contains(u.Name, ":") {
			bad("user %q: a name without a colon is expected", u.Name)
		}
	}
	positive(&o.RecentIDs, DefaultRecentIDs, "recent ids", bad)
	positive(&o.ElectionTime, DefaultElectionTime, "election time", bad)
	positive(&o.WriteTimeout, DefaultWriteTimeout, "write timeout", bad)
	if err := o.Faults.validate(); err != nil {
		bad("faults: %w", err)
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o, errors.Join(errs...)
}

func positive[T int | time.Duration](v *T, preset T, name string, bad func(string, ...any)) {
	if *v == 0 {
		*v = preset
	}
	if *v < 0 {
		bad("%s %v: a positive value is expected", name, *v)
	}
}
