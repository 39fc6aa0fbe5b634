// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/understudy-dev/understudy/plugins/wire"
)

// laneKey names the variable with the number of the file that is the plugin's end
// of the lane. A plugin that does not know it is spoken to over gRPC alone.
const laneKey = "UNDERSTUDY_PLUGIN_LANE"

// laneFile is what the first of the extra files is called in a process.
const laneFile = 3

// giveLane makes the two ends of a lane, gives one of them to cmd, which is to be
// started or at least closed, and returns the other.
func giveLane(cmd *exec.Cmd) (net.Conn, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the lane to the plugin: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "lane")
	ours, err := laneConn(ends[0])
	if err != nil {
		_ = theirs.Close() // what went wrong is in err
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(cmd.Env, laneKey+"="+strconv.Itoa(laneFile))
	return ours, nil
}

// laneConn returns a connection that is the end of a lane with the number fd.
func laneConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "lane")
	conn, err := net.FileConn(file) // has a file of its own
	_ = file.Close()                // nothing was written to it
	if err != nil {
		return nil, fmt.Errorf("use the lane to the plugin: %w", err)
	}
	return conn, nil
}

// serveLane serves the lane that the host has given to this process, if any.
func serveLane(server *wire.Server, logger *slog.Logger) {
	given := os.Getenv(laneKey)
	if given == "" {
		return
	}
	_ = os.Unsetenv(laneKey) // children have no lane
	fd, err := strconv.Atoi(given)
	if err == nil {
		unix.CloseOnExec(fd)
		var conn net.Conn
		if conn, err = laneConn(fd); err == nil {
			go func() { _ = server.ServeLane(conn) }() // it ends with the host, or the host has closed it
			return
		}
	}
	logger.Warn("no lane: calls cost more time", "variable", laneKey, "error", err.Error())
}
