// SPDX-License-Identifier: Apache-2.0

package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

func TestFaultsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	var f settings.Faults
	require.NoError(t, f.Err("some"))
	f.Add(nil)
	f.If(false, "not this")
	settings.Between(&f, "inside", 3, 1, 3)
	require.NoError(t, f.Err("some"))

	f.If(true, "color %q: want red or blue", "green")
	settings.Between(&f, "timeout", time.Hour, time.Second, time.Minute)
	f.Add(errors.New("name is empty"))
	err := f.Err("some")
	require.ErrorIs(t, err, driver.Invalid)
	require.EqualError(t, err, `some: configure: invalid: color "green": want red or blue; timeout is 1h0m0s: want 1s–1m0s; name is empty`)
}

func TestLoginCheck(t *testing.T) {
	t.Parallel()
	secret := driver.NewSecret("s3cret")
	for name, c := range map[string]struct {
		login settings.Login
		want  string // "": nothing is wrong
	}{
		"None":             {settings.Login{}, ""},
		"Values":           {settings.Login{Username: "u", Password: secret}, ""},
		"Files":            {settings.Login{UsernameFile: "/u", PasswordFile: "/p"}, ""},
		"PasswordAlone":    {settings.Login{Password: secret}, ""},
		"NameTwice":        {settings.Login{Username: "u", UsernameFile: "/u", Password: secret}, "at.username and at.username_file exclude each other"},
		"PasswordTwice":    {settings.Login{Username: "u", Password: secret, PasswordFile: "/p"}, "at.password and at.password_file exclude each other"},
		"NameAlone":        {settings.Login{Username: "u"}, "at.username without a password: set at.password or at.password_file"},
		"NameInAFileAlone": {settings.Login{UsernameFile: "/u"}, "at.username without a password: set at.password or at.password_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f settings.Faults
			c.login.Check(&f, "at.")
			if c.want == "" {
				require.NoError(t, f.Err("some"))
				return
			}
			require.EqualError(t, f.Err("some"), "some: configure: invalid: "+c.want)
		})
	}
}

// file writes a file and returns its name.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

func TestLoginIsReadAnew(t *testing.T) {
	t.Parallel()
	l := settings.Login{UsernameFile: file(t, "u\r\n"), PasswordFile: file(t, "old\n")}
	name, password, err := l.Read("")
	require.NoError(t, err)
	require.Equal(t, []string{"u", "old"}, []string{name, password})
	require.NoError(t, os.WriteFile(l.PasswordFile, []byte(" new "), 0o600))
	_, password, err = l.Read("")
	require.NoError(t, err)
	require.Equal(t, " new ", password)

	values := settings.Login{Username: "u", Password: driver.NewSecret("p")}
	name, password, err = values.Read("")
	require.NoError(t, err)
	require.Equal(t, []string{"u", "p"}, []string{name, password})
}

func TestLoginThatCannotBeRead(t *testing.T) {
	t.Parallel()
	l := settings.Login{Username: "u", PasswordFile: file(t, "\n")}
	_, _, err := l.Read("sentinel.")
	require.EqualError(t, err, "sentinel.password_file: "+l.PasswordFile+" is empty")
	require.NoError(t, os.Remove(l.PasswordFile))
	_, _, err = l.Read("")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "password_file cannot be read")
}

func TestTLSCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tls  *settings.TLS
		want string
	}{
		"None":        {nil, ""},
		"Empty":       {&settings.TLS{}, ""},
		"Both":        {&settings.TLS{Certificate: "c", Key: "k", MinVersion: "1.3"}, ""},
		"Certificate": {&settings.TLS{Certificate: "c"}, "tls.certificate and tls.key: want both files, or neither"},
		"Key":         {&settings.TLS{Key: "k"}, "tls.certificate and tls.key: want both files, or neither"},
		"Version":     {&settings.TLS{MinVersion: "1.1"}, `tls.min_version "1.1": want 1.2 or 1.3`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f settings.Faults
			c.tls.Check(&f, "tls")
			if c.want == "" {
				require.NoError(t, f.Err("some"))
				return
			}
			require.EqualError(t, f.Err("some"), "some: configure: invalid: "+c.want)
		})
	}
}

func TestTLSConfigTellsWhichFile(t *testing.T) {
	t.Parallel()
	for want, section := range map[string]settings.TLS{
		"tls.ca cannot be read":                      {CA: filepath.Join(t.TempDir(), "none")},
		"holds no certificate in PEM form":           {CA: file(t, "text")},
		"tls.certificate and tls.key cannot be used": {Certificate: file(t, "text"), Key: file(t, "text")},
	} {
		_, err := section.Config("host")
		require.ErrorContains(t, err, want)
	}
}

func TestTLSConfigNamesTheServer(t *testing.T) {
	t.Parallel()
	c, err := (&settings.TLS{}).Config("host")
	require.NoError(t, err)
	require.Equal(t, "host", c.ServerName)
	require.Nil(t, c.RootCAs) // the system's
	require.False(t, c.InsecureSkipVerify)
	require.Equal(t, uint16(0x0303), c.MinVersion)
	c, err = (&settings.TLS{ServerName: "other", MinVersion: "1.3"}).Config("host")
	require.NoError(t, err)
	require.Equal(t, "other", c.ServerName)
	require.Equal(t, uint16(0x0304), c.MinVersion)
}

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "10.0.0.1": false, "localhost.example.org": false, "::": false, "0.0.0.0": false,
	} {
		require.Equal(t, want, settings.IsLoopback(host), host)
	}
}
