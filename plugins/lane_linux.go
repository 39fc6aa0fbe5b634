// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/understudy-dev/understudy/plugins/wire"
)

// laneKey names the variable with the numbers of the files that are the plugin's
// end of the lane: what it reads and what it writes. A plugin that does not know
// it is spoken to over gRPC alone.
const laneKey = "UNDERSTUDY_PLUGIN_LANE"

// firstExtra is what the first of the extra files is called in a process.
const firstExtra = 3

// pipeBytes is what a pipe takes without a reader, so that a batch is written in
// one go. It is the most that an ordinary user may ask for.
const pipeBytes = 1 << 20

// pipes is one end of a lane: a pipe to read and one to write. Unlike a socket, a
// pipe does not wake its writer each time that something was read.
type pipes struct {
	in, out *os.File
}

func (p *pipes) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipes) Close() error                { return errors.Join(p.in.Close(), p.out.Close()) }

// SyscallConn is of the pipe to write.
func (p *pipes) SyscallConn() (syscall.RawConn, error) { return p.out.SyscallConn() }

// giveLane makes the two ends of a lane, gives one of them to cmd, which is to be
// started or at least closed, and returns the other.
func giveLane(cmd *exec.Cmd) (io.ReadWriteCloser, error) {
	ours, theirs := &pipes{}, &pipes{}
	for _, p := range []struct{ in, out **os.File }{{&theirs.in, &ours.out}, {&ours.in, &theirs.out}} {
		var err error
		if *p.in, *p.out, err = os.Pipe(); err != nil {
			closeAll(ours.in, ours.out, theirs.in, theirs.out)
			return nil, fmt.Errorf("make the lane to the plugin: %w", err)
		}
	}
	cmd.ExtraFiles = []*os.File{theirs.in, theirs.out}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d,%d", laneKey, firstExtra, firstExtra+1))
	enlarge(ours.out)
	enlarge(ours.in)
	return ours, nil
}

// enlarge makes a pipe take pipeBytes, or leaves it as it is, which only costs time.
func enlarge(end *os.File) {
	if raw, err := end.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeBytes) })
	}
}

// serveLane serves the lane that the host has given to this process, if any.
func serveLane(server *wire.Server, logger *slog.Logger) {
	given := os.Getenv(laneKey)
	if given == "" {
		return
	}
	_ = os.Unsetenv(laneKey) // children have no lane
	lane, err := takeLane(given)
	if err != nil {
		logger.Warn("no lane: calls cost more time", "variable", laneKey, "error", err.Error())
		return
	}
	go func() { _ = server.ServeLane(lane) }() // it ends with the host, or the host has closed it
}

// takeLane returns the end of a lane of which the variable gives the numbers.
func takeLane(given string) (*pipes, error) {
	first, second, _ := strings.Cut(given, ",")
	in, err1 := strconv.Atoi(first)
	out, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("%q: want two numbers of files, with a comma", given)
	}
	for _, fd := range []int{in, out} {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("file %d: %w", fd, err)
		}
	}
	// Only now: an os.File closes what it stands for when it is no longer used.
	return &pipes{os.NewFile(uintptr(in), "lane"), os.NewFile(uintptr(out), "lane")}, nil
}
