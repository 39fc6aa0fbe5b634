// SPDX-License-Identifier: Apache-2.0

package eventstore_test

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/understudy-dev/understudy/drivers/eventstore/devserver"
)

func TestMain(m *testing.M) {
	// The test binary is also the server that tests start, kill and freeze.
	if len(os.Args) == 4 && os.Args[1] == "server" {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if given() && !slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.parallel") }) {
		os.Args = slices.Insert(os.Args, 1, "-test.parallel="+givenParallel)
	}
	goleak.VerifyTestMain(m)
}

// serve runs a server until standard input ends, which it does with the parent.
// The arguments are the address and the data directory.
func serve(args []string) error {
	server, err := devserver.Start(devserver.Options{Listen: args[0], Data: args[1]})
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(server.Addresses(), ","))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return server.Close()
}

func self(t require.TestingT) string {
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}
