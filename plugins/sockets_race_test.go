// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A folder that is being made was taken for one that its host had left behind.
func TestSocketDirsMadeAtOnceStay(t *testing.T) {
	t.Parallel()
	var makers sync.WaitGroup
	errs := make(chan error, 8)
	for range cap(errs) {
		makers.Go(func() {
			for range 50 {
				d, err := newSocketDir()
				if err != nil {
					errs <- err
					return
				}
				_, err = os.Stat(d.path)
				if err := errors.Join(err, d.remove()); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	makers.Wait()
	close(errs)
	require.NoError(t, <-errs)
}
