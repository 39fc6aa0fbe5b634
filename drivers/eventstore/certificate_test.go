// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/understudy-dev/understudy/driver"
	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

// authority signs the certificates of clients.
type authority struct {
	t           testing.TB
	dir, file   string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	a := authority{t: t, dir: t.TempDir()}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.file = a.write("ca.pem", "CERTIFICATE", a.sign(a.certificate, a.key))
	return a
}

func (a authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	require.NoError(a.t, err)
	return der
}

func (a authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	require.NoError(a.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

// client makes the certificate of a client and returns its file and that of its key.
func (a authority) client() (certificate, key string) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "host-1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, own)
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	require.NoError(a.t, err)
	return a.write("client.pem", "CERTIFICATE", der), a.write("client.key", "PRIVATE KEY", secret)
}

// TestAccessWithAClientCertificate: the server demands one of each client.
func TestAccessWithAClientCertificate(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	server := start(t, devserver.Options{TLS: true, ClientCAFile: authority.file})
	ca := caFile(t, server)
	certificate, key := authority.client()
	with := func(certificate, key string) settings {
		return patient(settings{
			"hosts": server.Addresses(), "username": "admin", "password": "changeit",
			"tls": settings{"ca": ca, "certificate": certificate, "key": key},
		})
	}
	s := open(t, with(certificate, key)).ready()
	s.put("a")
	d, err := s.Describe(t.Context(), driver.DescribeRequest{})
	require.NoError(t, err)
	require.Equal(t, driver.MutualTLS, d.Protection)
	url := fmt.Sprintf("esdb://admin:changeit@%s?tlsCAFile=%s&userCertFile=%s&userKeyFile=%s", server.Addresses()[0], ca, certificate, key)
	require.NotNil(t, open(t, patient(settings{"connection_string": url})).ready().get("a"))

	none := with(certificate, key)
	none["tls"] = settings{"ca": ca}
	denied(t, open(t, none), "the server wants a certificate of the client")
	other := newAuthority(t)
	certificate, key = other.client()
	stranger := open(t, with(certificate, key))
	denied(t, stranger, "does not take the certificate of the client")
	other.certificate, other.key = authority.certificate, authority.key
	other.client() // in the place of the other one
	eventually(t, patience, func() error { return stranger.try(back) })
	astray := with(certificate, key)
	replaced := filepath.Join(t.TempDir(), "ca.pem")
	astray["tls"] = settings{"ca": replaced, "certificate": certificate, "key": key}
	require.NoError(t, os.CopyFS(filepath.Dir(replaced), os.DirFS(authority.dir))) // an authority, but not the server's
	lost := open(t, astray)
	denied(t, lost, "the server's certificate is not trusted: set tls.ca")
	require.NoError(t, os.WriteFile(replaced, server.CA(), 0o600))
	eventually(t, patience, func() error { return lost.try(back) })

	wrong := with(certificate, key)
	wrong["password"] = "s3cret"
	denied(t, open(t, wrong), "the user or the password is wrong")
}
