// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Certificates are the files of an authority and of one certificate for loopback
// that serves for servers and clients.
type Certificates struct {
	CA, Certificate, Key string
}

// NewCertificates makes an authority and a certificate.
func NewCertificates(tb testing.TB) Certificates {
	tb.Helper()
	dir := tb.TempDir()
	c := Certificates{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	ca := template(1, "redistest authority")
	ca.IsCA, ca.KeyUsage, ca.BasicConstraintsValid = true, x509.KeyUsageCertSign, true
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(tb, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	leaf := template(2, "redistest")
	leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	require.NoError(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	for file, block := range map[string]*pem.Block{
		c.CA:          {Type: "CERTIFICATE", Bytes: caDER},
		c.Certificate: {Type: "CERTIFICATE", Bytes: leafDER},
		c.Key:         {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		require.NoError(tb, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
	return c
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// TLS returns settings for a client that trusts the authority.
func (c Certificates) TLS(t T) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(c.CA)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "localhost"}
}
