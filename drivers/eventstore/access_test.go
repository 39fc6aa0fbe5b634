// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// tlsServer has the user understudy beside the administrator.
func tlsServer(t testing.TB) (*devserver.Server, settings, operator) {
	t.Helper()
	server := start(t, devserver.Options{TLS: true, Users: append(devserver.DefaultUsers(), devserver.User{Name: "understudy", Password: "s3cret"})})
	ca := caFile(t, server)
	admin := newOperator(t, fmt.Sprintf("esdb://admin:changeit@%s?tls=true&tlsCAFile=%s", server.Addresses()[0], ca))
	return server, patient(settings{"hosts": server.Addresses(), "tls": settings{"ca": ca}, "username": "understudy", "password": "s3cret"}), admin
}

func TestAccessOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	_, s, _ := tlsServer(t)
	opened := open(t, s).ready()
	opened.put("a")
	probe := opened.probe()
	require.True(t, probe.Healthy())
	require.Empty(t, probe.Warnings)
	d, err := opened.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	require.Equal(t, driver.TLS, d.Protection)
}

// denied waits until the store says so, and why.
func denied(t *testing.T, s store, why string) {
	t.Helper()
	eventually(t, patience, func() error {
		err := s.try(limit)
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "s3cret") {
			return fmt.Errorf("want denied because %q, got %w", why, err)
		}
		return nil
	})
}

func TestAccessWithAWrongPassword(t *testing.T) {
	t.Parallel()
	_, s, _ := tlsServer(t)
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("guess\n"), 0o600))
	delete(s, "password")
	s["password_file"] = file
	opened := open(t, s)
	denied(t, opened, "the user or the password is wrong")
	require.NoError(t, os.WriteFile(file, []byte("s3cret\n"), 0o600))
	eventually(t, patience, func() error { return opened.try(back) }) // the file is read anew
	require.NoError(t, os.Remove(file))
	denied(t, open(t, s), "password_file")
}

func TestAccessWithoutCredentials(t *testing.T) {
	t.Parallel()
	_, s, _ := tlsServer(t)
	delete(s, "username")
	delete(s, "password")
	denied(t, open(t, s), "the user lacks a right on the journal stream")
}

func TestAccessByTheListOfTheStream(t *testing.T) {
	t.Parallel()
	_, s, admin := tlsServer(t)
	const mine = `"$r":"understudy","$w":"understudy","$mr":"understudy"`
	admin.setMetadata(`{"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`)
	denied(t, open(t, s), "the user lacks a right on the journal stream")
	admin.setMetadata(`{"$acl":{` + mine + `,"$mw":"$admins"}}`)
	opened := open(t, s).ready()
	opened.put("a")
	warnings := opened.probe().Warnings
	require.Len(t, warnings, 1)
	require.Equal(t, "journal-metadata", warnings[0].Code)
	admin.setMetadata(`{"$acl":{` + mine + `,"$mw":"understudy"}}`)
	require.Empty(t, opened.probe().Warnings)
}

// TestAccessAsDocumented sets the journal up as docs/eventstore.md says.
func TestAccessAsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/eventstore.md")
	require.NoError(t, err)
	list := regexp.MustCompile(`(?m)^\{"\$acl": .*\}$`).FindString(string(page))
	require.NotEmpty(t, list, "the page has the access list")
	server := start(t, devserver.Options{TLS: true, Users: append(devserver.DefaultUsers(),
		devserver.User{Name: "understudy", Password: "s3cret"},
		devserver.User{Name: "olga", Password: "s3cret", Groups: []string{"operators"}},
		devserver.User{Name: "somebody", Password: "s3cret"})})
	ca := caFile(t, server)
	as := func(name string) settings {
		return patient(settings{"hosts": server.Addresses(), "tls": settings{"ca": ca}, "username": name, "password": "s3cret"})
	}
	client := func(login string) operator {
		return newOperator(t, fmt.Sprintf("esdb://%s@%s?tls=true&tlsCAFile=%s", login, server.Addresses()[0], ca))
	}
	admin, olga := client("admin:changeit"), client("olga:s3cret")
	admin.setMetadata(list)

	s := open(t, as("understudy")).ready()
	probe := s.probe()
	require.True(t, probe.Healthy())
	require.Empty(t, probe.Warnings)
	s.put("a")
	require.NotEmpty(t, olga.events(journalStream), "operators look at it")
	_, err = olga.client.AppendToStream(t.Context(), journalStream, esdb.AppendToStreamOptions{},
		esdb.EventData{EventType: "Greeting", ContentType: esdb.ContentTypeJson, Data: []byte("{}")})
	require.Error(t, err, "and do not write") // the client does not always say why
	for _, e := range olga.events(journalStream) {
		require.NotEqual(t, "Greeting", e.EventType)
	}
	for _, name := range []string{"olga", "somebody", "ops"} {
		s := as(name)
		if name == "ops" {
			s["password"] = "changeit"
		}
		other := open(t, s)
		denied(t, other, "the user lacks a right on the journal stream: see the ACL in docs/eventstore.md")
		eventually(t, patience, func() error {
			if err := other.try(limit); !errors.Is(err, driver.Denied) {
				return fmt.Errorf("want denied, got %w", errors.Join(errors.New("an answer"), err))
			}
			return nil
		})
	}
	require.NoError(t, eventstore.NewLog(t, as("understudy").json(t), journalStream).Truncate(t.Context(), 1))
	kept := admin.metadata()
	require.InDelta(t, 1, kept["$tb"], 0)
	delete(kept, "$tb")
	require.JSONEq(t, list, string(settings(kept).json(t)))
}

func TestAccessOfAnUnknownAuthority(t *testing.T) {
	t.Parallel()
	server, s, _ := tlsServer(t)
	s["tls"] = settings{"ca": caFile(t, start(t, devserver.Options{TLS: true}))}
	denied(t, open(t, s), "set tls.ca to the certificates of who signed it")
	s["tls"] = settings{"ca": filepath.Join(t.TempDir(), "none.pem")}
	denied(t, open(t, s), "tls.ca cannot be read")
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	require.NoError(t, os.WriteFile(noPEM, []byte("nothing"), 0o600))
	s["tls"] = settings{"ca": noPEM}
	denied(t, open(t, s), "holds no certificate")
	s["tls"] = settings{"ca": caFile(t, server), "server_name": "es.example.org"}
	denied(t, open(t, s), "connect to that, or set tls.server_name")
	s["tls"] = settings{"ca": caFile(t, server), "certificate": noPEM, "key": noPEM}
	denied(t, open(t, s), "tls.certificate and tls.key")
}

// TestAppendLargerThanTheServerTakes: append_bytes is set higher than the server's
// limit, which cuts appends while they are sent.
func TestAppendLargerThanTheServerTakes(t *testing.T) {
	t.Parallel()
	s := calm(start(t, devserver.Options{}).Addresses()...)
	s["append_bytes"] = 4 << 20
	opened := open(t, s).ready()
	var ts []driver.Transition
	for i := range 12 {
		ts = append(ts, newStart(t, fmt.Sprint("large-", i), make([]byte, 180<<10)))
	}
	for range 20 {
		resp, err := opened.Commit(t.Context(), driver.CommitRequest{Transitions: ts})
		if err == nil {
			err = resp.Verdicts[0].Err
		}
		require.ErrorIs(t, err, driver.TooLarge)
		require.ErrorContains(t, err, "set append_bytes to its MaxAppendSize")
	}
	require.Nil(t, opened.get("large-0"))
	opened.put("small")
}

// TestAccessInPlainText: a server with TLS is not spoken to in plain text, and the
// other way round.
func TestAccessInPlainText(t *testing.T) {
	t.Parallel()
	server, s, _ := tlsServer(t)
	denied(t, open(t, settings{"hosts": server.Addresses()}), "no answer in plain text: set tls")
	s["hosts"] = start(t, devserver.Options{}).Addresses()
	denied(t, open(t, s), "the server speaks no TLS: leave tls out")
}
