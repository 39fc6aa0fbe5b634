// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// Config is where the server is, how to talk to it, and which cases to run.
type Config struct {
	URL                string // host:port
	CA                 string // PEM file; empty: no TLS
	User, PasswordFile string // empty: no credentials
	Idle               time.Duration
	Parallel           int
	Only, Skip         string
	Verbose            bool

	tls        *tls.Config
	password   string
	only, skip *regexp.Regexp
}

// prepare checks the configuration and reads the files that it names.
func (c *Config) prepare() error {
	c.URL = strings.TrimPrefix(c.URL, "esdb://")
	if i := strings.IndexAny(c.URL, "?/"); i >= 0 {
		c.URL = c.URL[:i]
	}
	var err error
	if c.only, err = regexp.Compile(c.Only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if c.Skip != "" {
		if c.skip, err = regexp.Compile(c.Skip); err != nil {
			return fmt.Errorf("-skip: %w", err)
		}
	}
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("-password-file: %w", err)
		}
		c.password = strings.TrimRight(string(b), "\r\n")
	}
	if c.CA == "" {
		return nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return fmt.Errorf("-tls-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("-tls-ca: no certificate in %s", c.CA)
	}
	c.tls = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return nil
}

// maxMessage is the largest message that the program sends or takes.
const maxMessage = 64 << 20

func (c *Config) dial() (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if c.tls != nil {
		transport = credentials.NewTLS(c.tls)
	}
	return grpc.NewClient("passthrough:///"+c.URL, grpc.WithTransportCredentials(transport), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
}

// auth adds the credentials given on the command line to a call.
func (c *Config) auth(ctx context.Context) context.Context {
	if c.User == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", basic(c.User, c.password))
}
