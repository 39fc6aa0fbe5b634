// SPDX-License-Identifier: Apache-2.0

package plugins

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runProcess starts cmd in a process group of its own and returns; when the
// process has ended, whatever is left of its group is killed, and exited is
// called, both with reaping held: whoever holds it can signal the process without
// the fear that its number is somebody else's by now.
//
// The kernel kills the process when the host dies. It counts the *thread* that
// started a process as its parent, so that thread stays with the process until
// its end.
func runProcess(cmd *exec.Cmd, reaping sync.Locker, exited func(*os.ProcessState)) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
		reaping.Lock()
		defer reaping.Unlock()
		_ = killGroup(cmd.Process.Pid) // usually nobody is left
		_ = cmd.Wait()                 // how it ended is in its state
		exited(cmd.ProcessState)
	}()
	return <-started
}

// readNow reads what is in a pipe, and returns the number of bytes: below 1 if there
// is nothing.
func readNow(pipe *os.File, b []byte) (n int) {
	conn, err := pipe.SyscallConn()
	if err != nil || pipe.SetReadDeadline(time.Time{}) != nil {
		return 0
	}
	err = conn.Read(func(fd uintptr) bool {
		for n, err = unix.Read(int(fd), b); errors.Is(err, unix.EINTR); n, err = unix.Read(int(fd), b) {
		}
		return true // it does not wait
	})
	if err != nil {
		return 0
	}
	return n
}

// killGroup kills the processes of a group; none left is no error.
func killGroup(leader int) error {
	err := unix.Kill(-leader, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// terminate asks a process to end.
func terminate(pid int) error { return unix.Kill(pid, unix.SIGTERM) }
