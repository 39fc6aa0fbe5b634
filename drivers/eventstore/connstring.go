// SPDX-License-Identifier: Apache-2.0

package eventstore

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/settings"
)

const defaultPort = "2113"

// fromConnectionString puts what the connection string says into the fields it
// stands for. Faults never quote the string, which may hold a password.
func (c *Config) fromConnectionString() error {
	scheme, rest, found := strings.Cut(c.ConnectionString.Reveal(), "://")
	switch {
	case !found || scheme != "esdb" && scheme != "esdb+discover":
		return errors.New("connection_string: want esdb://… or esdb+discover://…")
	case scheme == "esdb+discover":
		c.Discover = true
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority := strings.TrimSuffix(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		authority = authority[at+1:]
		name, err := url.PathUnescape(user)
		if err != nil || name == "" {
			return errors.New("connection_string: the user name before @ is empty or not properly escaped")
		}
		secret, err := url.PathUnescape(password)
		if err != nil || secret == "" {
			return errors.New("connection_string: the password before @ is empty or not properly escaped")
		}
		c.Username, c.Password = name, driver.NewSecret(secret)
	}
	if strings.Contains(authority, "/") {
		return errors.New("connection_string: has a path: want esdb://hosts?settings")
	}
	c.Hosts = strings.Split(authority, ",")
	c.ConnectionString = driver.Secret{} // its parts stand in the fields now
	return c.fromSettings(query)
}

// fromSettings reads the part behind the question mark. The names are those of the
// official clients, in any case.
func (c *Config) fromSettings(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("connection_string: the settings after ? are not properly escaped")
	}
	encrypted, verified := true, true
	section := settings.TLS{}
	var faults []error
	for key, given := range values {
		value := given[len(given)-1]
		var err error
		switch strings.ToLower(key) {
		case "tls":
			encrypted, err = strconv.ParseBool(value)
			encrypted = encrypted || err != nil // or there were other complaints for nothing
		case "tlsverifycert":
			verified, err = strconv.ParseBool(value)
		case "tlscafile":
			section.CA = value
		case "usercertfile":
			section.Certificate = value
		case "userkeyfile":
			section.Key = value
		case "nodepreference":
			if !strings.EqualFold(value, "leader") {
				faults = append(faults, fmt.Errorf("connection_string: nodePreference %q: the journal is always kept with the leader, so leave it out", value))
			}
		case "keepaliveinterval":
			faults = append(faults, milliseconds(key, value, &c.pings.every))
		case "keepalivetimeout":
			faults = append(faults, milliseconds(key, value, &c.pings.within))
		case "gossiptimeout", "discoveryinterval", "maxdiscoverattempts", "defaultdeadline":
			faults = append(faults, fmt.Errorf("connection_string: %s has no meaning here: leave it out and use connect_timeout, response_timeout and call_timeout", key))
		default:
			faults = append(faults, fmt.Errorf("connection_string: unknown setting %q: want tls, tlsVerifyCert, tlsCAFile, userCertFile, userKeyFile, keepAliveInterval or keepAliveTimeout", key))
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("connection_string: %s: want true or false", key))
		}
	}
	c.unverified = encrypted && !verified
	if encrypted {
		c.TLS = &section
	} else if section != (settings.TLS{}) || !verified {
		faults = append(faults, errors.New("connection_string: tls=false together with other settings of TLS"))
	}
	return errors.Join(faults...)
}

// milliseconds reads a time, -1 for never.
func milliseconds(key, value string, to *time.Duration) error {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < -1 || n == 0 {
		return fmt.Errorf("connection_string: %s: want milliseconds, or -1 for never", key)
	}
	*to = time.Duration(n) * time.Millisecond
	return nil
}

// withPort returns host:port, adding the default port.
func withPort(host string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip := net.ParseIP(bare); ip != nil || !strings.Contains(host, ":") {
		host = net.JoinHostPort(bare, defaultPort)
	}
	name, port, err := net.SplitHostPort(host)
	n, numeric := strconv.ParseUint(port, 10, 16)
	if err != nil || name == "" || strings.ContainsAny(name, "/?#@ ") || numeric != nil || n == 0 {
		return "", errors.New("want host or host:port, such as eventstore.example.org:2113")
	}
	return host, nil
}
