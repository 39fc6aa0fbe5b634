// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
)

// TLS is how connections are encrypted. The zero value checks the server by the
// authorities of the system and shows no certificate.
type TLS struct {
	// CA names a file with the certificates of the authorities, PEM. Empty: the
	// system's. It is read for each new connection, as are Certificate and Key.
	CA string `json:"ca"`
	// Certificate and Key name the files of the client's certificate, PEM.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	// ServerName is the name in the server's certificate. Empty: the host connected to.
	ServerName string `json:"server_name"`
	// MinVersion is 1.2 or 1.3. Default: 1.2.
	MinVersion string `json:"min_version"`
}

// Check adds to f what is wrong with t, whose section has the key at. It looks at
// no file. A nil t has no faults.
func (t *TLS) Check(f *Faults, at string) {
	if t == nil {
		return
	}
	f.If((t.Certificate == "") != (t.Key == ""), "%[1]s.certificate and %[1]s.key: want both files, or neither", at)
	f.If(t.MinVersion != "" && t.MinVersion != "1.2" && t.MinVersion != "1.3", "%s.min_version %q: want 1.2 or 1.3", at, t.MinVersion)
}

// Config reads the files and returns the settings of a connection to host. The
// error names the key of the file that cannot be used, in a section tls.
func (t *TLS) Config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca cannot be read: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: %s holds no certificate in PEM form", t.CA)
		}
	}
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.certificate and tls.key cannot be used: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// IsLoopback reports whether connections to host, a name or an address, never
// leave this machine.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
